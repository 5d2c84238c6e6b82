"""Signed sums of the rows of each bin: one pass over X, and no S."""

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor

from rmmbench.kernels import philox


def bin_sums(x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor) -> Tensor:
    """Return the signed sum of each bin's rows, shape (bins, features), accumulated in float32.

    Args:
        x: Shape (rows, features).
        order: The rows by bin, int64, shape (rows,).
        starts: Where each bin starts in `order`, int64, shape (bins,).
        sign_words: As `philox.sign_words` gives them.
    """
    signs = philox.unpack_signs(sign_words, x.shape[0], x.dtype)
    weights = signs.index_select(0, order)
    # A bag of embeddings is a bin: gathered, weighted and summed without a copy of X.
    return F.embedding_bag(order, x, starts, mode="sum", per_sample_weights=weights)
