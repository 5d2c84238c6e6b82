"""Fake tensors: shapes and dtypes without numbers, with which a whole training step can run.

The process has one mode, because tensors that a model keeps for its next call must be of the same
mode. Within it, `Module.to` works, mixture-of-experts products take every dtype, and data loaders
yield real batches.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, Final
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.data import DataLoader


class _Fakes(FakeTensorMode):  # type: ignore[no-untyped-call]
    """Fake tensors, with an operator whose shapes torch knows in bfloat16 only.

    What an operator gives is looked up by what it is given, as torch does it, with less work.
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Any = None,
    ) -> Any:
        if func is torch.ops.aten._grouped_mm.default:
            return _grouped_product(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and isinstance(args[0], FakeTensor):
            # A number that is known would be copied for real.
            args[0].constant = None
        if _is_for_each_in_place(func) and all(map(self._is_without_value, _tensors(args))):
            return None
        return self.dispatch(func, types, args, kwargs or {})

    def _prep_args_for_hash(self, result: list[Any], args: Any, *rest: Any) -> None:
        """Add to `result` all that makes a difference to what an operator gives."""
        if isinstance(args, dict):
            args = [each for item in args.items() for each in item]
        result.append(len(args))
        for each in args:
            kind = type(each)
            if kind in _PLAIN:
                # 1 and 1.0 are equal, and give results of other dtypes.
                result += (kind, each)
            elif kind is list or kind is tuple:
                self._prep_args_for_hash(result, each, *rest)
            elif self._is_without_value(each) and each.layout is torch.strided:
                result += (each.dtype, each.shape, each.stride(), each.storage_offset())
                result += (each.untyped_storage().nbytes(), each.fake_device, each.requires_grad)
                result += (each.is_conj(), each.is_neg(), each.is_inference())
            else:
                super()._prep_args_for_hash(result, [each], *rest)

    def _is_without_value(self, value: object) -> bool:
        """Tell whether something is a fake tensor of this mode whose numbers are unknown."""
        return isinstance(value, FakeTensor) and value.fake_mode is self and value.constant is None


_PLAIN: Final = {
    *(int, float, bool, str, type(None), torch.dtype, torch.device),
    *(torch.layout, torch.memory_format),
}
"""Types of what is a key as it is."""

_MODE = _Fakes(allow_non_fake_inputs=True)
_iterate = DataLoader.__iter__


@cache
def _is_for_each_in_place(operator: Any) -> bool:
    """Tell whether an operator changes each tensor of a list, and makes none."""
    schema = getattr(operator, "_schema", None)
    if schema is None or "::_foreach_" not in schema.name:
        return False
    return bool(schema.is_mutable) and not schema.returns


def _tensors(args: Sequence[Any]) -> Iterator[Tensor]:
    """Yield the tensors among an operator's arguments and in lists of such."""
    for each in args:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, list):
            yield from _tensors(each)


@contextmanager
def fake_tensors() -> Iterator[FakeTensorMode]:
    """Make every new tensor a fake one, on the device that was asked for."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch("torch.utils.swap_tensors", _swap))
        stack.enter_context(mock.patch.object(DataLoader, "__iter__", _real_batches))
        if "transformers" in sys.modules:
            # It reads whether sequences are packed, and of fake tensors assumes that they are. Then
            # attention would have a mask, which rules flash attention out.
            packed = "transformers.masking_utils.find_packed_sequence_indices"
            stack.enter_context(mock.patch(packed, _are_packed))
        yield stack.enter_context(_MODE)


def is_faking() -> bool:
    """Tell whether new tensors are fake ones."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


@contextmanager
def real_tensors() -> Iterator[None]:
    """Make new tensors real ones on the CPU for a while."""
    with _disable_current_modes(), torch.device("cpu"):
        yield


def as_fake(tensor: Tensor) -> Tensor:
    """Return a fake tensor like a real one; a fake one is returned as it is."""
    return tensor if isinstance(tensor, FakeTensor) else _MODE.from_tensor(tensor)


def why_not_fake(error: BaseException) -> str | None:
    """Return why fake tensors caused an error; None if they did not."""
    no_value = (
        DataDependentOutputException,
        DynamicOutputShapeException,
        UnsupportedOperatorException,
    )
    func = getattr(error, "func", error)
    if func is torch.ops.aten._local_scalar_dense.default:
        return "it reads the value of a tensor, by .item(), bool() or the like"
    if isinstance(error, no_value):
        return f"{func} needs real data"
    if ".numpy() is not supported" in str(error) or "access data pointer" in str(error):
        return "it hands values to something that is not torch"
    return None


def _real_batches(loader: DataLoader[Any]) -> Iterator[Any]:
    """Iterate over a loader's batches, which are made of real tensors."""
    with real_tensors():
        batches = _iterate(loader)
    while True:
        with real_tensors():
            try:
                batch = next(batches)
            except StopIteration:
                return
        yield batch


def _are_packed(position_ids: Tensor) -> None:
    """Return that no sequences are packed; a mock would keep what it was called with."""


def _swap(one: Tensor, other: Tensor) -> None:
    """Swap two fake tensors, to which the mode itself has weak references."""
    for name in ("__class__", "__dict__"):
        mine, yours = getattr(one, name), getattr(other, name)
        setattr(one, name, yours)
        setattr(other, name, mine)
    torch._C._swap_tensor_impl(one, other)


def _grouped_product(a: Tensor, b: Tensor, offs: Any = None, *_: Any, **given: Any) -> Tensor:
    """Return an empty tensor of the shape that `torch.nn.functional.grouped_mm` returns."""
    dtype = given.get("out_dtype") or a.dtype
    if a.dim() == b.dim() == 2:
        return a.new_empty(offs.shape[0], a.shape[0], b.shape[1], dtype=dtype)
    if a.dim() == 3 and b.dim() == 2:
        return a.new_empty(a.shape[1], b.shape[1], dtype=dtype)
    return a.new_empty(*a.shape[:-1], b.shape[-1], dtype=dtype)
