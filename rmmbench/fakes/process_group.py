"""A group of processes of which one is here, and the others are not: what is sent goes nowhere."""

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import torch.distributed as dist
from torch import Tensor


@contextmanager
def fake_group(ranks: int, device_type: str) -> Iterator[None]:
    """Within, be the first of so many processes, each with a device of a type.

    The first has as large a shard of each parameter as any: torch gives what is left over to the
    last ones, as less.
    """
    # Only tests of torch's own and this need it.
    from torch.testing._internal.distributed.fake_pg import FakeStore

    kinds = dict.fromkeys(("cpu", device_type))
    backend = ",".join(f"{kind}:fake" for kind in kinds)
    dist.init_process_group(backend, store=FakeStore(), rank=0, world_size=ranks)
    # Of several backends torch takes none for the usual one, and says so on stderr at the end.
    group: Any = dist.group.WORLD
    group._set_default_backend(dist.ProcessGroup.BackendType.CUSTOM)
    try:
        with ExitStack() as stack:
            for where, name, instead in _QUICKER:
                stack.enter_context(_replaced(where, name, instead))
            yield
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True)
class Chunks:
    """A tensor's parts as `torch.chunk` makes them, each when it is asked for; then empty ones.

    Attributes:
        tensor: That is taken apart.
        count: How many parts there are.
        dim: Along which it is.
    """

    tensor: Tensor
    count: int
    dim: int

    def __getitem__(self, number: int) -> Tensor:
        """Return the part of a number."""
        length = self.tensor.shape[self.dim]
        size = -(-length // self.count)
        start = number * size
        if start >= length:
            return self.tensor.new_empty(0)
        return self.tensor.narrow(self.dim, start, min(size, length - start))


_QUICKER: Final = (
    # It makes the shards of all ranks, of which one is used.
    ("torch.distributed.fsdp._fully_shard._fsdp_param", "_chunk_with_empty", Chunks),
    # For each parameter it looks at every one, for a placement that a mesh of one dimension lacks.
    ("torch.distributed.tensor._sharding_prop", "_propagate_use_strided_shard_flag", lambda *_: 0),
)
"""What takes long in torch for many ranks or parameters: module, name, and what does instead."""


def _replaced(where: str, name: str, instead: Any) -> AbstractContextManager[Any]:
    module = importlib.import_module(where)
    return mock.patch.object(module, name, instead) if hasattr(module, name) else nullcontext()
