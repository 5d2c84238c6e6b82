"""What CUDA's kernels take from the allocator for themselves while they run.

A dispatch mode sees an operator's inputs and outputs, and nothing of this. Sizes are those of the
sources of torch 2.11 to 2.13, in ATen/native: transformers/cuda/flash_attn/flash_api.cpp,
transformers/cuda/attention_backward.cu and cuda/Embedding.cu.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch

aten = torch.ops.aten

PRODUCTS: Final = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default}
"""Operators for which cuBLAS takes a workspace."""

ATTENTION: Final = {
    aten._scaled_dot_product_flash_attention.default: "flash",
    aten._scaled_dot_product_efficient_attention.default: "efficient",
    aten._scaled_dot_product_cudnn_attention.default: "cudnn",
}
"""The fused kernels of attention, by the operator that calls them."""

_SORTED_FROM: Final = 3072
"""From more indices than this on, an embedding's backward pass sorts them."""


def inside(operator: Any, args: Any) -> list[int]:
    """Return the sizes in bytes of what a kernel allocates while it runs, all at once."""
    sizes = _INSIDE.get(operator)
    return list(sizes(*args)) if sizes else []


def _flash_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any) -> Iterator[int]:
    batch, heads, length, width = query.shape
    rows = _up(length, 128)
    yield batch * heads * rows * 4  # the softmax's sums
    yield batch * rows * heads * _up(width, 32 if width <= 128 else 64) * 4  # dQ, in float32
    if key.shape[1] != heads:
        # dK and dV of every head, before those of a group are added up.
        yield from [batch * key.shape[2] * heads * width * key.element_size()] * 2


def _efficient_backward(grad: Any, query: Any, key: Any, *_: Any) -> Iterator[int]:
    batch, heads, length, width = query.shape
    yield batch * heads * length * 4  # delta
    if query.dtype != torch.float32 or width > 64:
        # dQ is gathered in float32, outside of the registers.
        yield batch * heads * _up(length, 64) * _up(width, 64) * 4


def _embedding_backward(grad: Any, indices: Any, *_: Any) -> Iterator[int]:
    if indices.numel() > _SORTED_FROM:
        # The sorted indices, where they come from, and what sorting takes.
        yield from [indices.numel() * 8] * 4


_INSIDE: Final[dict[Any, Callable[..., Iterator[int]]]] = {
    aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
    aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
    aten.embedding_dense_backward.default: _embedding_backward,
}


def _up(number: int, to: int) -> int:
    return -(-number // to) * to
