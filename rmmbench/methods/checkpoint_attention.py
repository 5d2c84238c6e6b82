"""Attention that keeps queries, keys and values, and no probabilities.

Scores, softmax, dropout and the product with the values are computed again in the backward pass, of
one layer at a time, with the random numbers of the first time. What attention keeps then grows with
the length of a sequence, not with its square, as in a fused kernel, which is faster.

Only what goes through transformers' interface of attention functions can be exchanged so.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rmmbench.methods.method import Method
from rmmbench.spec.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


class CheckpointAttention(Method[Settings]):
    """Computes the attention of each attention module again, as far as it is computed eagerly."""

    takes_over = frozenset({"recomputation"})
    is_exact = True

    def apply(self, model: "nn.Module", settings: Settings, batch: "Mapping[str, Tensor]") -> int:
        """Exchange the attention function and return how many attention modules have it.

        Raises:
            ValueError: If no module computes attention eagerly through the interface.
        """
        from rmmbench.nn.recomputed_attention import recompute_attention

        return recompute_attention(model)

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which probabilities are kept."""
        from rmmbench.nn.recomputed_attention import attention_kept

        return attention_kept(model)
