"""Numbers in 2, 4 or 8 bits each, packed into bytes, whose mean is what they were.

Each row is cut into 2^bits − 1 equal steps from its minimum on. A number between two levels becomes
one of them at random, the nearer one more often: as often as makes the mean right.

There are two kinds. `quantise` keeps a minimum and a step in two bytes each and draws by Philox
from a seed. `quantise_between` keeps both extremes in four bytes each, so that they come back
exactly, and draws from a generator, which on the CPU is thirty times as fast.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor

from rmmbench.kernels import philox

# Numbers that are rounded together, so that with their random bits they hold no more than 64 MiB.
_PIECE_ELEMENTS = 2**20
# A row's minimum and step take two bytes each. What is this much smaller, or larger, stays on its
# side of the true value when it is rounded to them.
_MARGIN = 2.0**-7


class Quantised(NamedTuple):
    """A matrix in few bits: rows · (⌈width · bits / 8⌉ + 4) bytes.

    Attributes:
        levels: Packed into bytes, shape (rows, ⌈width · bits / 8⌉).
        minima: Of each row, bfloat16, shape (rows, 1); no larger than the least number.
        steps: From level to level of each row, likewise.
    """

    levels: Tensor
    minima: Tensor
    steps: Tensor


def quantise(x: Tensor, bits: int, seed: Tensor) -> Quantised:
    """Return a matrix in 2, 4 or 8 bits a number.

    Args:
        x: Shape (rows, width), of any floating-point dtype; treated in float32.
        bits: Of a number.
        seed: Of what goes up and what goes down, one int64 number on x's device.
    """
    pieces = [_quantise(x[rows], bits, seed, i) for i, rows in enumerate(_pieces(*x.shape))]
    return Quantised(*(torch.cat(parts) for parts in zip(*pieces, strict=True)))


def restore(kept: Quantised, width: int, bits: int) -> Tensor:
    """Return the matrix, float32, shape (rows, width), that `quantise` made the few bits of."""
    levels = _unpack(kept.levels, width, bits)
    return levels.float().mul_(kept.steps).add_(kept.minima)


def product(y: Tensor, kept: Quantised, width: int, bits: int) -> Tensor:
    """Return Yᵀ times the matrix, in Y's dtype, without ever having all of the matrix restored."""
    total = y.new_zeros(y.shape[1], width, dtype=torch.promote_types(y.dtype, torch.float32))
    for rows in _pieces(len(y), width):
        some = restore(Quantised(*(part[rows] for part in kept)), width, bits)
        total += y[rows].T @ some.to(y.dtype)
    return total.to(y.dtype)


class Between(NamedTuple):
    """A matrix in few bits: rows · (⌈width · bits / 8⌉ + 8) bytes.

    Attributes:
        levels: Packed into bytes, shape (rows, ⌈width · bits / 8⌉).
        minima: Of each row, float32, shape (rows, 1).
        maxima: Likewise.
    """

    levels: Tensor
    minima: Tensor
    maxima: Tensor


def quantise_between(x: Tensor, bits: int, generator: torch.Generator | None) -> Between:
    """Return a matrix in 2, 4 or 8 bits a number.

    A number's mean moves by rounding in float32, and by less than 2⁻¹⁶ of the step between levels.

    Args:
        x: Shape (rows, width), of any floating-point dtype; treated in float32.
        bits: Of a number.
        generator: Of what goes up and what goes down, on x's device; None draws from torch's own.
    """
    rows, width = x.shape
    minima, maxima = x.new_empty(2, rows, 1, dtype=torch.float32)
    levels = x.new_empty(rows, -(-width * bits // 8), dtype=torch.uint8)
    for some in _eighths(rows, width):
        piece = x[some].float()
        # A mask's −∞ has to have a place among numbers; other infinities are to be seen.
        low = piece.amin(1, keepdim=True).clamp_min_(torch.finfo(piece.dtype).min)
        minima[some], maxima[some] = low, piece.amax(1, keepdim=True)
        levels[some] = _pack(_levels(piece, low, maxima[some], bits, generator), bits)
    return Between(levels, minima, maxima)


def restore_between(kept: Between, bits: int, out: Tensor) -> None:
    """Write the matrix that `quantise_between` made the few bits of, to `out` and in its dtype."""
    for some in _eighths(*out.shape):
        levels, minima, maxima = (part[some] for part in kept)
        shares = _unpack(levels, out.shape[1], bits).float().div_(2**bits - 1)
        out[some] = torch.lerp(minima, maxima, shares)


def _levels(
    x: Tensor, low: Tensor, high: Tensor, bits: int, generator: torch.Generator | None
) -> Tensor:
    """Return the level of each number, at random one of the two beside it, as bytes."""
    highest_level = 2**bits - 1
    span = (high - low).clamp_min_(torch.finfo(x.dtype).tiny)
    # In this order the maximum is at the highest level exactly.
    places = (x - low).div_(span).mul_(highest_level)
    # Four words of 16 bits in one draw; with the offset they are in (0, 1).
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    words = drawn.random_(-(2**63), None, generator=generator).view(torch.int16)
    places.add_(words[: x.numel()].view(x.shape), alpha=2.0**-16).add_(0.5 + 2.0**-17)
    return places.clamp_(0, highest_level).to(torch.uint8)


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


def _quantise(x: Tensor, bits: int, seed: Tensor, piece: int) -> Quantised:
    highest_level, x = 2**bits - 1, x.float()
    lowest = x.amin(1, keepdim=True)
    minima = (lowest - lowest.abs() * _MARGIN).bfloat16()
    # Levels are counted with what is kept, so that its rounding moves no mean.
    span = x.amax(1, keepdim=True) - minima
    steps = span.mul_((1 + _MARGIN) / highest_level).clamp_min_(torch.finfo(x.dtype).tiny)
    steps = steps.bfloat16()
    places = (x - minima).div_(steps)
    words = _random_words(seed, x.numel(), piece).view(x.shape)
    goes_up = (words >> 8).float().mul_(2.0**-24) < places.frac()
    levels = places.floor_().add_(goes_up).clamp_(0, highest_level).to(torch.uint8)
    return Quantised(_pack(levels, bits), minima, steps)


# An operator of its own is one step to fake tensors and to a compiler, where Philox is a hundred.
@torch.library.custom_op("rmmbench::rounding_words", mutates_args=())
def _random_words(seed: Tensor, count: int, piece: int) -> Tensor:
    """Return `count` random words below 2³², int64; each piece has counters of its own."""
    return philox.stream(seed, count, philox.Use.ROUNDING + (piece << 8))


@_random_words.register_fake
def _(seed: Tensor, count: int, piece: int) -> Tensor:
    return seed.new_empty(count)


def _pack(levels: Tensor, bits: int) -> Tensor:
    """Return levels below 2^bits, shape (rows, width), in bytes of shape (rows, ⌈width·bits/8⌉)."""
    if bits == 8:
        return levels
    a_byte = 8 // bits
    padded = F.pad(levels, (0, -levels.shape[1] % a_byte))
    packed = padded[:, ::a_byte].clone()
    for place in range(1, a_byte):
        packed |= padded[:, place::a_byte] << (place * bits)
    return packed


def _unpack(packed: Tensor, width: int, bits: int) -> Tensor:
    """Return the levels, shape (rows, width), that `_pack` has packed."""
    if bits == 8:
        return packed
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
    spread = packed.unsqueeze(2) >> shifts
    return spread.bitwise_and_(2**bits - 1).flatten(1)[:, :width]
