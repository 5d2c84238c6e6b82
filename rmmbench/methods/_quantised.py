"""Numbers in 2, 4 or 8 bits each, packed into bytes, whose mean is what they were.

Each row is cut into 2^bits − 1 equal steps from its minimum to its maximum. A number between two
levels becomes one of them at random, the nearer one more often: as often as makes the mean right.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor

from rmmbench.kernels.levels import pack, unpack
from rmmbench.nn import ops

# Numbers that are restored together for a product.
_PIECE_ELEMENTS = 2**20
# What is this much smaller, or larger, stays on its side when it is rounded to bfloat16.
_MARGIN = 2.0**-7


class Quantised(NamedTuple):
    """A matrix in few bits, and the ends of each row: rows · ⌈width · bits / 8⌉ bytes and theirs.

    Attributes:
        levels: Packed into bytes, shape (rows, ⌈width · bits / 8⌉).
        minima: Of each row, shape (rows, 1).
        maxima: Likewise.
    """

    levels: Tensor
    minima: Tensor
    maxima: Tensor


def quantise(x: Tensor, bits: int, seed: Tensor, ends: torch.dtype = torch.float32) -> Quantised:
    """Return a matrix in 2, 4 or 8 bits a number.

    A number's mean moves by rounding in float32, and by less than 2⁻¹⁶ of the step between levels.

    Args:
        x: Shape (rows, width), of any floating-point dtype; treated in float32.
        bits: Of a number.
        seed: Of what goes up and what goes down, one int64 number on x's device.
        ends: In float32, four bytes each, the ends of a row come back exactly; in bfloat16, two
            bytes each, they are a little further apart than its numbers.
    """
    rows, width = x.shape
    minima, maxima = (x.new_empty(rows, 1, dtype=ends) for _ in range(2))
    levels = x.new_empty(rows, -(-width * bits // 8), dtype=torch.uint8)
    for number, some in enumerate(_eighths(rows, width)):
        piece = x[some].float()
        minima[some], maxima[some] = _ends(piece, ends)
        words = ops.rounding_words(seed, piece.numel(), number)
        places = _levels(piece, minima[some], maxima[some], bits, words)
        levels[some] = pack(F.pad(places, (0, -width % 4)), bits)[:, : levels.shape[1]]
    return Quantised(levels, minima, maxima)


def restore(kept: Quantised, bits: int, out: Tensor) -> None:
    """Write the matrix that `quantise` made the few bits of, to `out` and in its dtype."""
    for some in _eighths(*out.shape):
        out[some] = _restored(kept, some, out.shape[1], bits)


def product(y: Tensor, kept: Quantised, width: int, bits: int) -> Tensor:
    """Return Yᵀ times the matrix, in Y's dtype, without ever having all of the matrix restored."""
    total = y.new_zeros(y.shape[1], width, dtype=torch.promote_types(y.dtype, torch.float32))
    for rows in _pieces(len(y), width):
        total += y[rows].T @ _restored(kept, rows, width, bits).to(y.dtype)
    return total.to(y.dtype)


def _ends(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest number of each row, or what is beyond them in a dtype."""
    # A mask's −∞ has to have a place among numbers; other infinities are to be seen.
    low = x.amin(1, keepdim=True).clamp_min_(torch.finfo(x.dtype).min)
    high = x.amax(1, keepdim=True)
    if dtype == x.dtype:
        return low, high
    return (low - low.abs() * _MARGIN).to(dtype), (high + high.abs() * _MARGIN).to(dtype)


def _levels(x: Tensor, low: Tensor, high: Tensor, bits: int, words: Tensor) -> Tensor:
    """Return the level of each number, at random one of the two beside it, uint8."""
    highest_level, low = 2**bits - 1, low.to(x.dtype)
    # Levels are counted with the ends that are kept, so that their rounding moves no mean.
    span = (high - low).clamp_min_(torch.finfo(x.dtype).tiny)
    # In this order the maximum is at the highest level exactly.
    places = (x - low).div_(span).mul_(highest_level)
    # With the offset a word is in (0, 1).
    places.add_(words.view(x.shape), alpha=2.0**-16).add_(0.5 + 2.0**-17)
    # To int16 and then to bytes is the faster way.
    return places.clamp_(0, highest_level).to(torch.int16).to(torch.uint8)


def _restored(kept: Quantised, rows: slice, width: int, bits: int) -> Tensor:
    """Return some rows of the matrix, float32."""
    levels, minima, maxima = (part[rows] for part in kept)
    shares = unpack(levels, bits)[:, :width].float().div_(2**bits - 1)
    return torch.lerp(minima.float(), maxima.float(), shares)


def _pieces(rows: int, width: int) -> Iterator[slice]:
    # An eighth where there is little, so that a piece is not the peak of a small model.
    elements = min(_PIECE_ELEMENTS, max(_PIECE_ELEMENTS // 16, rows * width // 8))
    return _rows_of(max(1, elements // width), rows)


def _eighths(rows: int, width: int) -> Iterator[slice]:
    # Few, as each takes a dozen operators; what it takes for a moment is less than half of X.
    elements = max(_PIECE_ELEMENTS // 16, rows * width // 8)
    return _rows_of(max(1, elements // width), rows)


def _rows_of(height: int, rows: int) -> Iterator[slice]:
    return (slice(start, start + height) for start in range(0, rows, height))
