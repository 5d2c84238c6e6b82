"""Numbers that wait in the host's memory."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from rmmbench.methods._saved import Keeping


class Host(ABC):
    """Memory that is not the device's."""

    @abstractmethod
    def put(self, run: Tensor) -> Any:
        """Return what there is in this memory of a run of numbers, shape (n,)."""

    @abstractmethod
    def get(self, kept: Any, run: Tensor) -> None:
        """Write what `put` returned to `run`, which is like what `put` was given."""


class Pinned(Host):
    """The CPU's memory, in pages that a GPU reads and writes itself.

    Its allocator gives a page to another only when the GPU is done with it.
    """

    def put(self, run: Tensor) -> Tensor:
        """Start to copy numbers from the GPU."""
        kept = torch.empty(run.shape, dtype=run.dtype, device="cpu", pin_memory=True)
        return kept.copy_(run, non_blocking=True)

    def get(self, kept: Tensor, run: Tensor) -> None:
        """Start to copy numbers back."""
        run.copy_(kept, non_blocking=True)


class Unseen(Host):
    """Where fake tensors are moved to: as they have no numbers, nothing of them is left."""

    def put(self, run: Tensor) -> None:
        """Keep nothing."""

    def get(self, kept: None, run: Tensor) -> None:
        """Leave it as it is."""


def host_of(tensor: Tensor) -> Host | None:
    """Return where the numbers of a tensor can be moved to, None if it is there already."""
    if isinstance(tensor, FakeTensor):
        return Unseen()
    return Pinned() if tensor.is_cuda else None


class _Moved(NamedTuple):
    """A run of numbers that was moved, and what makes a new one like it."""

    host: Host
    kept: Any
    length: int
    dtype: torch.dtype
    device: torch.device


class Moving(Keeping):
    """Keeps numbers of any kind on the host."""

    def takes(self, tensor: Tensor) -> bool:
        """Tell whether there is a host to move to."""
        return host_of(tensor) is not None

    def keep(self, run: Tensor) -> _Moved:
        """Move numbers to their host."""
        host = host_of(run)
        assert host is not None
        return _Moved(host, host.put(run), len(run), run.dtype, run.device)

    def restore(self, kept: _Moved) -> Tensor:
        """Move numbers back."""
        run = torch.empty(kept.length, dtype=kept.dtype, device=kept.device)
        kept.host.get(kept.kept, run)
        return run
