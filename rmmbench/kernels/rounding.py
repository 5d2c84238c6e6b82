"""A matrix in 8, 4 or 2 bits a number, each rounded up or down at random so that its mean stays.

Chen, Zheng, Yao, Wang, Stoica, Mahoney, Gonzalez (2021): ActNN: Reducing Training Memory Footprint
via 2-Bit Activation Compressed Training. ICML 2021, arXiv:2104.14129.

Each group of up to 64 features of a row is cut into 2^bits − 1 equal steps, from a level at or
below its least number to one at or above its greatest. A number at a share p of the way between two
levels becomes the upper one with probability p. Its error has the mean 0 and the variance
step² p (1 − p), and any two errors are independent, whatever the matrix is. So the squared error of
a product with the matrix is what its closed form says.
"""

import functools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor

from rmmbench.kernels import philox
from rmmbench.kernels.chances import HostChances, philox_chances
from rmmbench.kernels.launch import kernel_or_twin
from rmmbench.kernels.levels import GROUP_SIZE, groups_of, new_rounded, pack, unpack

# Numbers that are treated together: their float32 copies fit a processor's cache.
_PIECE_ELEMENTS = 2**18
# Less than 1 / 2⁸ is what bfloat16 is off by.
_MARGIN = 2.0**-8

Chances = Callable[[range, int], Tensor]
"""Returns 1 + u of each number of some rows, with u uniform between 0 and 1, float32."""


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
    if x.is_cpu:
        size = len(x), GROUP_SIZE * groups_of(x.shape[1])
        return _rounded(x, bits, HostChances(seed, size, _height(size[1])))
    return kernel_or_twin("_triton_rounding:round_to_bits", round_to_bits_twin, x, bits, seed)


def round_to_bits_twin(x: Tensor, bits: int, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Compute a GPU's `round_to_bits` with PyTorch's own operators."""
    return _rounded(x, bits, functools.partial(philox_chances, seed))


def _rounded(x: Tensor, bits: int, chances: Chances) -> tuple[Tensor, Tensor]:
    (rows, width), groups = x.shape, groups_of(x.shape[1])
    levels, ends = new_rounded(x, bits)
    # The same memory for every piece: to get more from the system takes longer than to fill it.
    height = min(rows, _height(groups * GROUP_SIZE))
    room, *whole = (
        x.new_empty(height, groups * GROUP_SIZE, dtype=dtype)
        for dtype in (torch.float32, torch.int16, torch.uint8)
    )
    for some in _pieces(rows, groups * GROUP_SIZE):
        piece = _in_groups(x[some].float())
        places = room[: len(piece)].view(piece.shape)
        _write_places(piece, _ends(piece, bits, ends[some]), places)
        places.view(len(piece), -1).add_(chances(range(rows)[some], groups * GROUP_SIZE))
        # The ends leave room above the greatest number, so every place is at a level, one too high.
        # To int16 and then to bytes is the faster way.
        chosen = whole[0][: len(piece)].copy_(places.view(len(piece), -1))
        chosen = whole[1][: len(piece)].copy_(chosen).sub_(1)
        if width < groups * GROUP_SIZE:
            chosen[:, width:] = 0
        levels[some] = pack(chosen, bits)[:, : levels.shape[1]]
    return levels, ends


def restored(levels: Tensor, ends: Tensor, width: int, bits: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix that `round_to_bits` made the few bits of, shape (rows, width)."""
    kernel = "_triton_rounding:restored"
    return kernel_or_twin(kernel, restored_twin, levels, ends, width, bits, dtype)


def restored_twin(
    levels: Tensor, ends: Tensor, width: int, bits: int, dtype: torch.dtype
) -> Tensor:
    """Compute `restored` with PyTorch's own operators."""
    rows, groups = ends.shape[:2]
    out = levels.new_empty(rows, width, dtype=dtype)
    missing = -(-groups * GROUP_SIZE * bits // 8) - levels.shape[1]
    is_direct = dtype == torch.float32 and width == groups * GROUP_SIZE
    pieces = list(_pieces(rows, width))
    height = len(out[pieces[0]]) if pieces and not is_direct else 0
    room = out.new_empty(height, groups, GROUP_SIZE, dtype=torch.float32)
    for some in pieces:
        packed = F.pad(levels[some], (0, missing)) if missing else levels[some]
        least, step = _least_and_step(ends[some])
        piece = out[some].view(-1, groups, GROUP_SIZE) if is_direct else room[: len(least)]
        piece.copy_(unpack(packed, bits).view(piece.shape)).mul_(step).add_(least)
        if not is_direct:
            out[some] = piece.flatten(1)[:, :width]
    return out


def product(y: Tensor, levels: Tensor, ends: Tensor, width: int, bits: int) -> Tensor:
    """Return Yᵀ times the matrix, in Y's dtype, without ever having all of the matrix restored."""
    precise = torch.promote_types(y.dtype, torch.float32)
    total: Tensor | None = None
    for some in (pieces := list(_pieces(len(y), width, of=16))):
        piece = restored(levels[some], ends[some], width, bits, y.dtype)
        if total is None:
            # Of one piece it is the result; several are added up in float32.
            total = y[some].T @ piece
            total = total if len(pieces) == 1 else total.to(precise)
        elif precise == y.dtype:
            total.addmm_(y[some].T, piece)
        else:
            total += y[some].T @ piece
    return y.new_zeros(y.shape[1], width) if total is None else total.to(y.dtype)


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
        ends = _ends(piece, bits, piece.new_empty(*piece.shape[:2], 2, dtype=torch.bfloat16))
        shares = torch.empty_like(piece)
        _write_places(piece, ends, shares)
        shares.frac_()
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
    return x.reshape(len(x), -(-x.shape[1] // GROUP_SIZE), GROUP_SIZE)


def _ends(x: Tensor, bits: int, out: Tensor) -> Tensor:
    """Write the least level and the step of each group; shape (rows, groups, 2), bfloat16."""
    # Two passes: torch's one for both is ten times as slow on the CPU.
    least, greatest = x.amin(2), x.amax(2)
    # Rounded outwards, so that no number is beyond the ends.
    least = least.sub_(least.abs(), alpha=_MARGIN).bfloat16()
    step = greatest.sub_(least).mul_((1 + _MARGIN) / (2**bits - 1))
    return torch.stack([least, step.clamp_min_(torch.finfo(x.dtype).tiny).bfloat16()], 2, out=out)


def _write_places(x: Tensor, ends: Tensor, out: Tensor) -> None:
    """Write where each number is between levels, in steps from the least; levels are whole."""
    least, step = _least_and_step(ends)
    torch.sub(x, least, out=out).mul_(step.reciprocal_())


def _least_and_step(ends: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ends in float32, each of shape (rows, groups, 1)."""
    return ends[..., :1].float(), ends[..., 1:].float()


def _pieces(rows: int, width: int, of: int = 1) -> Iterator[slice]:
    height = _height(width, of)
    return (slice(start, start + height) for start in range(0, rows, height))


def _height(width: int, of: int = 1) -> int:
    return max(1, of * _PIECE_ELEMENTS // max(1, width))
