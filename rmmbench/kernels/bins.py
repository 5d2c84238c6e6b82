"""Signed sums of the rows in each bin, from one pass over X and without S."""

import torch
from torch import Tensor

from rmmbench.kernels import philox, rounding
from rmmbench.kernels.launch import kernel_or_twin

# Most elements of a float32 copy of some columns.
_PIECE_ELEMENTS = 2**22

# The mode of torch.embedding_bag. The function of torch.nn.functional takes longer than the sums of
# a few rows.
_SUM = 0


def bin_sums(x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor) -> Tensor:
    """Return the signed sum of each bin's rows, shape (bins, features), accumulated in float32.

    Args:
        x: Shape (rows, features).
        order: The numbers of the rows, bin by bin, int32 or int64, shape (rows,).
        starts: Where each bin starts in `order`, of the same type, shape (bins,). The first starts
            at 0 and the last ends with the rows.
        sign_words: What `philox.sign_words` returns; on a CPU one sign per place in `order`.
    """
    return kernel_or_twin("_triton_bins:bin_sums", bin_sums_twin, x, order, starts, sign_words)


def bin_sums_and_total(
    y: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `bin_sums` and the plain sum of all rows, shape (features,), from one pass over Y."""
    return kernel_or_twin(
        "_triton_bins:bin_sums_and_total", bin_sums_and_total_twin, y, order, starts, sign_words
    )


def bin_sums_in_bits(
    x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor, bits: int, seed: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `bin_sums` as `rounding.round_to_bits` rounds them; see there.

    A kernel rounds what it accumulated, so they are never in memory as they are.
    """
    arguments = x, order, starts, sign_words
    if x.is_cpu:
        return rounding.round_to_bits(bin_sums(*arguments), bits, seed)
    kernel = "_triton_bins:bin_sums_in_bits"
    return kernel_or_twin(kernel, bin_sums_in_bits_twin, *arguments, bits, seed)


def bin_sums_twin(x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor) -> Tensor:
    """Compute `bin_sums` with PyTorch's own operators."""
    if x.dtype == torch.bfloat16:
        return _bin_sums_of_bfloat16(x, order, starts, sign_words)
    weights = sign_words
    if not weights.is_floating_point():
        weights = philox.unpack_signs(sign_words, x.shape[0], x.dtype).index_select(0, order)
    # A bag of embeddings is a bin: torch gathers, weights and sums it without a copy of X.
    sums: Tensor = torch.embedding_bag(x, order, starts, False, _SUM, False, weights)[0]
    return sums


def _bin_sums_of_bfloat16(x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor) -> Tensor:
    """Return the sums, computed in float32 for some columns at a time.

    On the CPU torch's bag of bfloat16 rounds halves away from 0. Sums of a few numbers are often
    halves, so x_proj would be up to 0.08 % too long, and the gradient twice as much.
    """
    rows, features = x.shape
    sums = x.new_empty(len(starts), features)
    # At most an eighth of X, so that a copy is not the peak of a small model.
    width = max(1, min(_PIECE_ELEMENTS // max(1, rows), max(16, -(-features // 8))))
    for some, out in zip(torch.split(x, width, 1), torch.split(sums, width, 1), strict=True):
        out.copy_(bin_sums_twin(some.float(), order, starts, sign_words))
    return sums


def bin_sums_and_total_twin(
    y: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `bin_sums_and_total` with PyTorch's own operators."""
    return bin_sums_twin(y, order, starts, sign_words), y.sum(0)


def bin_sums_in_bits_twin(
    x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor, bits: int, seed: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute a GPU's `bin_sums_in_bits` with PyTorch's own operators."""
    sums = bin_sums_twin(x, order, starts, sign_words)
    return rounding.round_to_bits_twin(sums, bits, seed)
