"""How a matrix in few bits lies in memory: packed levels, and the ends of groups of features."""

import torch
from torch import Tensor

GROUP_SIZE = 64
"""Features of a row that share their least level and their step."""

BITS = (8, 4, 2)
"""How many a number can be kept in."""


def groups_of(width: int) -> int:
    """Return how many groups a row of `width` features has."""
    return -(-width // GROUP_SIZE)


def row_bytes(width: int, bits: int) -> int:
    """Return what is kept of a row: ⌈width · bits / 8⌉ bytes and 4 for each group."""
    return -(-width * bits // 8) + 4 * groups_of(width)


def new_rounded(x: Tensor, bits: int, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Return room for the levels and the ends of a matrix in few bits, of x's width.

    Args:
        x: Shape (rows, width).
        bits: 8, 4 or 2.
        rows: Of the matrix; by default x's.
    """
    height, width = x.shape
    height = height if rows is None else rows
    levels = x.new_empty(height, -(-width * bits // 8), dtype=torch.uint8)
    return levels, x.new_empty(height, groups_of(width), 2, dtype=torch.bfloat16)


def pack(levels: Tensor, bits: int) -> Tensor:
    """Return levels below 2^bits, bytes, with all of a byte's in the lowest byte of a number.

    Args:
        levels: Shape (rows, width), uint8; the width is a multiple of 4.
        bits: 8, 4 or 2.
    """
    if bits == 8:
        return levels
    # Neighbours are read as one number, and shifted together.
    if bits == 4:
        pairs = levels.view(torch.int16)
        return pairs | pairs >> 4
    fours = levels.view(torch.int32)
    fours = fours | fours >> 6
    return fours | fours >> 12


def unpack(packed: Tensor, bits: int) -> Tensor:
    """Return the levels, as bytes, that `pack` has packed."""
    if bits == 8:
        return packed
    if bits == 4:
        pairs = packed.to(torch.int16)
        return (pairs | pairs << 4).bitwise_and_(0x0F0F).view(torch.uint8)
    fours = packed.to(torch.int32)
    fours = fours | fours << 12
    return (fours | fours << 6).bitwise_and_(0x03030303).view(torch.uint8)
