"""Selective activation checkpointing: of a block, products of matrices are kept, the rest is not.

Products are most of the work of a block, and the rest, such as activation functions, normalisation
and dropout, is most of what it keeps. Beside its input a block keeps the result of each product,
which is there already when the rest is computed again: a linear layer's output in place of what
comes of it. What the last product gives is kept as well, though nothing asks for it. A sketch is no
product, and is drawn anew. A seed of something else is drawn once: a product with what was drawn
first must not meet what is drawn next.

Korthikanti, Casper, Lym, McAfee, Andersch, Shoeybi, Catanzaro (2022): Reducing Activation
Recomputation in Large Transformer Models. arXiv 2205.05198.
"""

from typing import Any

from rmmbench.methods.checkpoint import Checkpoint


class SelectiveCheckpoint(Checkpoint):
    """Computes every block again, but for its products of matrices.

    A block that changes a product in place is refused when it is first computed, by a ValueError.
    """

    _name = "selective-checkpoint"

    def _how(self) -> dict[str, Any]:
        from rmmbench.methods._products import contexts

        return {"context_fn": contexts}
