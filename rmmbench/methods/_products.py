"""What a block keeps of its first computation when all but its products is computed again."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    create_selective_checkpoint_contexts,
)

from rmmbench.nn import ops

_NAMES = (
    *("mm", "addmm", "_addmm_activation", "bmm", "baddbmm", "addbmm", "_scaled_mm"),
    *("_grouped_mm", "_scaled_grouped_mm"),
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    *("_flash_attention_forward", "_efficient_attention_forward", "_cudnn_attention_forward"),
)
_PACKETS = [getattr(torch.ops.aten, name) for name in _NAMES if hasattr(torch.ops.aten, name)]
PRODUCTS = frozenset(
    getattr(packet, overload)
    for packet in _PACKETS
    for overload in packet.overloads()
    if overload in ("default", "dtype")
)
"""Products of matrices, as far as this PyTorch has them."""

KEPT = PRODUCTS | {ops.draw_seed}
"""The operators whose results are kept."""


def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return the contexts of one block's first and second computation."""
    make: Any = create_selective_checkpoint_contexts
    first, second = make(_policy)
    return _Refusing(first), second


def _policy(
    context: SelectiveCheckpointContext, op: Any, *args: Any, **kwargs: Any
) -> CheckpointPolicy:
    """Tell whether the result of an operator is kept."""
    is_kept = _is_kept(op, args, kwargs)
    return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE


class _Refusing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The context of a block's first computation, in which what is kept must not be changed."""

    def __init__(self, context: AbstractContextManager[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._context = context
        self._kept: set[int] = set()

    def __enter__(self) -> Self:
        self._context.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._context.__exit__(*error)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operator.

        Raises:
            ValueError: If the operator changes a result that is kept.
        """
        if not self._kept.isdisjoint(_changed_storages(func, args)):
            # PyTorch would see that of a view, but not of what it made of a matrix by _unsafe_view.
            need = "selective-checkpoint must find each product of matrices as it was"
            raise ValueError(f"{need}; got {func}, which changes one in place; choose checkpoint")
        result = func(*args, **(kwargs or {}))
        if _is_kept(func, args, kwargs or {}):
            self._kept.update(_storages(result))
        return result


def _is_kept(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    # Attention that drops something out, if left out, would leave its random numbers to the next
    # dropout of the block, which then would not drop what it has dropped before.
    return op in KEPT and not _dropout(op, args, kwargs)


def _dropout(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """Return the share that an operator drops out."""
    names = [argument.name for argument in op._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    return float(given.get("dropout_p", 0.0))


def _changed_storages(op: Any, args: tuple[Any, ...]) -> set[int]:
    # What is compiled apart, such as flexible attention, has no schema, and changes nothing.
    if not isinstance(op, OpOverload) or not op._schema.is_mutable:
        return set()
    pairs = zip(op._schema.arguments, args, strict=False)
    return _storages([value for argument, value in pairs if argument.is_write])


def _storages(values: Any) -> set[int]:
    tensors = (value for value in tree_iter(values) if isinstance(value, Tensor))
    return {tensor.untyped_storage()._cdata for tensor in tensors}
