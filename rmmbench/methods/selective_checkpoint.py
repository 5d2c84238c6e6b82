"""Selective activation checkpointing: of a block, products of matrices are kept, the rest is not.

Products are most of the work of a block, and the rest, such as activation functions, normalisation
and dropout, is most of what it keeps. Beside its input a block keeps the result of each product,
which is there already when the rest is computed again: a linear layer's output in place of what
comes of it. What the last product gives is kept as well, though nothing asks for it.

Korthikanti, Casper, Lym, McAfee, Andersch, Shoeybi, Catanzaro (2022): Reducing Activation
Recomputation in Large Transformer Models. arXiv 2205.05198.
"""

import functools
from typing import Any

import torch
from torch.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    create_selective_checkpoint_contexts,
)

from rmmbench.methods.checkpoint import Checkpoint

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
"""The operators whose results are kept, as far as this PyTorch has them."""


class SelectiveCheckpoint(Checkpoint):
    """Computes every block again, but for its products of matrices."""

    def _settings(self) -> dict[str, Any]:
        contexts = functools.partial(create_selective_checkpoint_contexts, _policy)
        return {"context_fn": contexts}


def _policy(_: SelectiveCheckpointContext, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    # Attention that drops something out, if left out, would leave its random numbers to the next
    # dropout of the block, which then would not drop what it has dropped before.
    if op in PRODUCTS and not _dropout(op, args, kwargs):
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE


def _dropout(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """Return the share that an operator drops out."""
    names = [argument.name for argument in op._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    return float(given.get("dropout_p", 0.0))
