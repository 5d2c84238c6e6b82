"""A group of processes of which one is here, and the others are not: what is sent goes nowhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from rmmbench.fakes.quicker import quicker


@contextmanager
def fake_group(ranks: int, device_type: str) -> Iterator[None]:
    """Within, be the first of so many processes, each with a device of a type.

    The first has as large a shard of each parameter as any: torch gives what is left over to the
    last ones, as less.
    """
    # Only tests of torch's own and this need it.
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from rmmbench.fakes.reducer import reducing_fakes

    kinds = dict.fromkeys(("cpu", device_type))
    backend = ",".join(f"{kind}:fake" for kind in kinds)
    dist.init_process_group(backend, store=FakeStore(), rank=0, world_size=ranks)
    # Of several backends torch takes none for the usual one, and says so on stderr at the end.
    group: Any = dist.group.WORLD
    group._set_default_backend(dist.ProcessGroup.BackendType.CUSTOM)
    try:
        with quicker(), reducing_fakes():
            yield
    finally:
        dist.destroy_process_group()
