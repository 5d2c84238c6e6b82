"""Llama 3 as torchtitan trained it at the end of 2024, when it published its peaks.

pytorch/torchtitan @9dec370: queries and keys are turned as complex numbers in float32, the norm is
computed in float32, and keys and values are repeated for every head of queries. Of a block the
results of attention and of every second product of matrices are kept, and all else is computed
again ("selective" checkpointing by operators).
"""

from collections import Counter
from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

from rmmbench.models.llama import VOCABULARY, Size
from rmmbench.nn.blocks import checkpoint_blocks

_KEY_HEADS: Final = 8
_ATTENTION: Final = {
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
}


class Titan(nn.Module):
    """A decoder of one of Llama's sizes, called with tokens and their labels; returns the loss."""

    def __init__(self, size: Size, length: int) -> None:
        """Make it for sequences of a length, with selective checkpoints."""
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, size.width)
        self.blocks = nn.ModuleList(_Block(size) for _ in range(size.layers))
        self.norm = _Norm(size.width)
        self.output = nn.Linear(size.width, VOCABULARY, bias=False)
        angles = torch.outer(torch.arange(length), torch.ones(size.width // size.heads // 2))
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles))
        checkpoint_blocks(self, context_fn=_contexts, preserve_rng_state=False)

    def forward(self, input_ids: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy, of logits in float32."""
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x, self.turns)
        logits = self.output(self.norm(x))
        return functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


class _Block(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.attention_norm, self.network_norm = _Norm(size.width), _Norm(size.width)
        self.attention, self.network = _Attention(size), _Network(size)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), turns)
        result: Tensor = x + self.network(self.network_norm(x))
        return result


class _Attention(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.width = size.width // size.heads
        self.repeats = size.heads // _KEY_HEADS
        self.queries = nn.Linear(size.width, size.width, bias=False)
        self.keys = nn.Linear(size.width, _KEY_HEADS * self.width, bias=False)
        self.values = nn.Linear(size.width, _KEY_HEADS * self.width, bias=False)
        self.output = nn.Linear(size.width, size.width, bias=False)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        parts = self.queries(x), self.keys(x), self.values(x)
        query, key, value = (part.unflatten(-1, (-1, self.width)) for part in parts)
        query, key = _turned(query, turns), _turned(key, turns)
        key, value = self._repeated(key), self._repeated(value)
        query, key, value = (each.transpose(1, 2) for each in (query, key, value))
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        result: Tensor = self.output(attended.transpose(1, 2).contiguous().flatten(2))
        return result

    def _repeated(self, x: Tensor) -> Tensor:
        return x.unsqueeze(3).expand(-1, -1, -1, self.repeats, -1).flatten(2, 3)


class _Network(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gate = nn.Linear(size.width, size.feed_forward, bias=False)
        self.up = nn.Linear(size.width, size.feed_forward, bias=False)
        self.down = nn.Linear(size.feed_forward, size.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return result


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt((wide * wide).mean(-1, keepdim=True) + 1e-5)
        return (wide * scale).type_as(x) * self.weight


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """Return queries or keys (batch, length, heads, width), turned by their places."""
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    turned = torch.view_as_real(pairs * turns[: x.shape[1], None])
    return turned.flatten(3).type_as(x)


def _contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return the contexts of a block's first and second computation."""
    counts: Counter[bool] = Counter()

    def policy(context: Any, operator: Any, *_: Any, **__: Any) -> CheckpointPolicy:
        is_product = operator is torch.ops.aten.mm.default
        counts[context.is_recompute] += is_product
        is_kept = operator in _ATTENTION or (is_product and counts[context.is_recompute] % 2 == 1)
        return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)  # type: ignore[no-any-return, no-untyped-call]
