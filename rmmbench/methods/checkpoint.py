"""Activation checkpointing: blocks keep their input alone and are computed again when needed.

Chen, Xu, Zhang, Guestrin (2016): Training Deep Nets with Sublinear Memory Cost. arXiv 1604.06174.

What a block keeps of its inside is there for one block at a time, in the backward pass. Each block
is computed twice, a third more work than a training step has without. Dropout draws again what it
drew; a layer that keeps a sketch has another one in the second computation, and uses that alone.
Batch normalisation within a block counts each batch twice in its running statistics.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from rmmbench.methods.method import Method
from rmmbench.spec.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


class Checkpoint(Method[Settings]):
    """Computes every block again."""

    takes_over = frozenset({"recomputation"})
    is_exact = True
    _name = "checkpoint"

    def apply(self, model: "nn.Module", settings: Settings, batch: "Mapping[str, Tensor]") -> int:
        """Let each block be computed again and return how many blocks there are.

        Raises:
            ValueError: If there are none.
        """
        from rmmbench.nn.blocks import checkpoint_blocks

        blocks = checkpoint_blocks(model, **self._how())
        if blocks == 0:
            need = f"{self._name} must find blocks to repeat, two or more of one class in a list"
            raise ValueError(f"{need}, and the model has none; choose another method")
        return blocks

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which nothing is computed again."""
        from rmmbench.nn.blocks import everything_kept

        return everything_kept(model)

    def _how(self) -> dict[str, Any]:
        """Return what `torch.utils.checkpoint.checkpoint` is told."""
        return {}
