"""A matrix in 8, 4 or 2 bits a number, each rounded up or down at random so that its mean stays.

Chen, Zheng, Yao, Wang, Stoica, Mahoney, Gonzalez (2021): ActNN: Reducing Training Memory Footprint
via 2-Bit Activation Compressed Training. ICML 2021, arXiv:2104.14129.

Each group of up to 64 features of a row is cut into 2^bits − 1 equal steps, from a level at or
below its least number to one at or above its greatest. A number at a share p of the way between two
levels becomes the upper one with probability p. Its error has the mean 0 and the variance
step² p (1 − p), and errors are independent of one another, whatever the matrix is.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor

from rmmbench.kernels import philox

GROUP_SIZE = 64
"""Features of a row that share their least level and their step."""

BITS = (8, 4, 2)
"""How many a number can be kept in."""

# Numbers that are treated together: their float32 copies fit a processor's cache.
_PIECE_ELEMENTS = 2**18
# Less than 1 / 2⁸ is what bfloat16 is off by.
_MARGIN = 2.0**-8


def groups_of(width: int) -> int:
    """Return how many groups a row of `width` features has."""
    return -(-width // GROUP_SIZE)


def row_bytes(width: int, bits: int) -> int:
    """Return what is kept of a row: ⌈width · bits / 8⌉ bytes and 4 for each group."""
    return -(-width * bits // 8) + 4 * groups_of(width)


def round_to_bits(x: Tensor, bits: int, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix in few bits.

    A number's mean moves by rounding in float32, and by less than 2⁻¹⁶ of a step.

    Args:
        x: Shape (rows, width), of any floating-point dtype; treated in float32.
        bits: 8, 4 or 2.
        seed: Of what goes up and what goes down, one int64 number on x's device.

    Returns:
        The levels, packed into bytes, shape (rows, ⌈width · bits / 8⌉), and the least level and the
        step of each group, bfloat16, shape (rows, groups, 2).
    """
    rows, width = x.shape
    levels, ends = new_rounded(x, bits)
    for number, some in enumerate(_pieces(rows, width)):
        piece = _in_groups(x[some].float())
        ends[some] = _ends(piece, bits)
        places = _places(piece, ends[some])
        words = rounding_words(seed, places.numel(), number).view(places.shape)
        # With the offset a word is in (0, 1).
        places.add_(words, alpha=2.0**-16).add_(0.5 + 2.0**-17)
        rounded = places.clamp_(0, 2**bits - 1).to(torch.uint8).flatten(1)
        levels[some] = _pack(rounded, bits)[:, : levels.shape[1]]
    return levels, ends


def new_rounded(x: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return room for the levels and the ends of a matrix in few bits."""
    rows, width = x.shape
    levels = x.new_empty(rows, -(-width * bits // 8), dtype=torch.uint8)
    return levels, x.new_empty(rows, groups_of(width), 2, dtype=torch.bfloat16)


def restored(levels: Tensor, ends: Tensor, width: int, bits: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix that `round_to_bits` made the few bits of, shape (rows, width)."""
    padded = ends.shape[1] * GROUP_SIZE
    spread = F.pad(levels, (0, -(-padded * bits // 8) - levels.shape[1]))
    places = _unpack(spread, bits).unflatten(1, (-1, GROUP_SIZE)).float()
    least, step = ends.float().split(1, dim=2)
    whole = places.mul_(step).add_(least).flatten(1)
    return whole[:, :width].to(dtype)


def product(y: Tensor, levels: Tensor, ends: Tensor, width: int, bits: int) -> Tensor:
    """Return Yᵀ times the matrix, in Y's dtype, without ever having all of the matrix restored."""
    total = y.new_zeros(y.shape[1], width, dtype=torch.promote_types(y.dtype, torch.float32))
    for some in _pieces(len(y), width, of=16):
        piece = restored(levels[some], ends[some], width, bits, y.dtype)
        if total.dtype == y.dtype:
            total.addmm_(y[some].T, piece)
        else:
            total += y[some].T @ piece
    return total.to(y.dtype)


def rounding_variance(x: Tensor, y: Tensor, bits: int) -> float:
    """Return E‖Yᵀ(X̃ − X)‖²_F over the roundings X̃ of a matrix X, in closed form.

    Args:
        x: What is rounded, shape (rows, width).
        y: What it is multiplied by, shape (rows, outputs).
        bits: 8, 4 or 2.
    """
    squares = y.double().square().sum(1)
    total = squares.new_zeros(())
    for some in _pieces(*x.shape):
        piece = _in_groups(x[some].float())
        ends = _ends(piece, bits)
        shares = _places(piece, ends).frac_()
        # What pads the last group is no number of the matrix.
        errors = (shares * (1 - shares)).flatten(1)[:, : x.shape[1]]
        steps = ends[..., 1].float().square().repeat_interleave(GROUP_SIZE, 1)[:, : x.shape[1]]
        total += squares[some].dot((errors * steps).sum(1).double())
    return float(total)


def rounding_words(seed: Tensor, count: int, piece: int) -> Tensor:
    """Return `count` random words of 16 bits, int16, for a seed and the number of a piece."""
    use = philox.Use.ROUNDING + (piece << 8)
    if seed.device.type != "cpu":
        return philox.philox_stream(seed, -(-count // 2), use).int().view(torch.int16)[:count]
    # Four words in one draw.
    drawn = torch.empty(-(-count // 4), dtype=torch.int64, device=seed.device)
    generator = philox.host_generator(seed, use)
    return drawn.random_(-(2**63), None, generator=generator).view(torch.int16)[:count]


def _in_groups(x: Tensor) -> Tensor:
    """Return rows in the shape (rows, groups, GROUP_SIZE); the last number pads the last group."""
    missing = -x.shape[1] % GROUP_SIZE
    if missing:
        x = torch.cat([x, x[:, -1:].expand(-1, missing)], dim=1)
    return x.unflatten(1, (-1, GROUP_SIZE))


def _ends(x: Tensor, bits: int) -> Tensor:
    """Return the least level and the step of each group, bfloat16, shape (rows, groups, 2)."""
    least, greatest = torch.aminmax(x, dim=2)
    # Rounded outwards, so that no number is beyond the ends.
    least = (least - least.abs() * _MARGIN).bfloat16()
    step = (greatest - least.float()) * ((1 + _MARGIN) / (2**bits - 1))
    return torch.stack([least, step.clamp_min_(torch.finfo(x.dtype).tiny).bfloat16()], dim=2)


def _places(x: Tensor, ends: Tensor) -> Tensor:
    """Return where each number is between levels, in steps from the least; levels are whole."""
    least, step = ends.float().split(1, dim=2)
    return (x - least).div_(step)


def _pieces(rows: int, width: int, of: int = 1) -> Iterator[slice]:
    height = max(1, of * _PIECE_ELEMENTS // max(1, width))
    return (slice(start, start + height) for start in range(0, rows, height))


def _pack(levels: Tensor, bits: int) -> Tensor:
    """Return levels below 2^bits in bytes; their width is a multiple of 4."""
    a_byte = 8 // bits
    packed = levels[:, ::a_byte]
    if a_byte == 1:
        return packed
    packed = packed.clone()
    for place in range(1, a_byte):
        packed |= levels[:, place::a_byte] << (place * bits)
    return packed


def _unpack(packed: Tensor, bits: int) -> Tensor:
    """Return the levels that `_pack` has packed."""
    if bits == 8:
        return packed
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
    spread = packed.unsqueeze(2) >> shifts
    return spread.bitwise_and_(2**bits - 1).flatten(1)
