"""What adds up the gradients of `DistributedDataParallel`, for tensors without numbers.

It is torch's own, in C++, and makes its buckets by the dispatcher, so they are fake. Only the
numbers of parameters, which it sends to other ranks to agree on buckets, must be real.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch._C._distributed_c10d as _c10d
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

_VERIFIED = "torch.nn.parallel.distributed._verify_param_shape_across_processes"


@contextmanager
def reducing_fakes() -> Iterator[None]:
    """Within, a model on fake tensors may be wrapped in `DistributedDataParallel`."""
    # Of shapes it sends the numbers too, to see that all ranks have the same.
    with mock.patch.object(dist, "Reducer", _Reducer), mock.patch(_VERIFIED, _agreed):
        yield


def _agreed(*_: object) -> None:
    """Do nothing; a mock would keep what it was called with."""


class _Reducer(_c10d.Reducer):
    """Torch's own, whose work in a group of ranks that are not there has a result."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        _c10d._register_comm_hook(self, dist.group.WORLD, _reduced)

    def _rebuild_buckets(self) -> bool:
        """Make buckets in the order in which gradients came, if they were not made so yet."""
        with _RealNumbers():  # type: ignore[no-untyped-call]
            rebuilt: bool = super()._rebuild_buckets()
        return rebuilt


def _reduced(group: Any, bucket: Any) -> "torch.futures.Future[Tensor]":
    """Send a bucket to the other ranks, and return it as what they all together have.

    Its numbers are not divided by the ranks here; torch does that as it fills the bucket.
    """
    dist.all_reduce(bucket.buffer(), group=group)
    result: torch.futures.Future[Tensor] = torch.futures.Future()
    result.set_result(bucket.buffer())
    return result


class _RealNumbers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within, whole numbers of 32 bits are real and on the CPU, whatever tensors else are."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if kwargs.get("dtype") is torch.int32:
            kwargs = {**kwargs, "device": "cpu"}
        elif not tensors or any(isinstance(each, FakeTensor) for each in tensors):
            return func(*args, **kwargs)
        with _disable_current_modes():
            return func(*args, **kwargs)
