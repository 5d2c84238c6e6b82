"""SᵀX for an S of independent entries, which is drawn piece by piece and never stored.

Entry (i, j) of S depends on seed, i and j alone. A sign is Philox's bit j % 128 at the counter
(i, j // 128), a normal number is number j % 4 at (i, j // 4). With blocks, S is block-diagonal and
j counts within the block. On the CPU torch's own generator draws the normal numbers, which is
faster; the same seed gives another S there than on a GPU.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rmmbench.kernels import philox
from rmmbench.kernels.launch import kernel_or_twin

# Elements of a piece of S: with the bits that it is made of it takes no more than 64 MiB.
_PIECE_ELEMENTS = 2**22
_SIGNS_A_COUNTER, _NORMALS_A_COUNTER = 128, 4

Entries = Callable[[Tensor, range, range, torch.dtype], Tensor]
"""Returns entries of S of variance 1, shape (rows, columns), for a seed, rows and columns."""


def sign_entries(seed: Tensor, rows: range, columns: range, dtype: torch.dtype) -> Tensor:
    """Return ±1 for each of the rows and columns of S; columns must start at a multiple of 128."""
    places = torch.arange(rows.start, rows.stop, device=seed.device).unsqueeze(1)
    groups = _groups(columns, _SIGNS_A_COUNTER, seed.device)
    words = philox.words(seed, places, groups, philox.Use.ENTRIES).permute(1, 2, 0)
    # Bytes in order, lowest first: a table turns each into its eight signs.
    shifts, bit = torch.arange(0, 32, 8, device=seed.device), torch.arange(8, device=seed.device)
    octets = (words.unsqueeze(3) >> shifts).bitwise_and_(255).flatten(1).to(torch.int32)
    bits = (torch.arange(256, device=seed.device).unsqueeze(1) >> bit) & 1
    signs = (1 - 2 * bits).to(dtype).index_select(0, octets.flatten())
    return signs.view(len(rows), -1)[:, : len(columns)]


def normal_entries(seed: Tensor, rows: range, columns: range, dtype: torch.dtype) -> Tensor:
    """Return normal numbers for some rows and columns of S; columns must start at a multiple of 4.

    The method of Box and Muller makes them from Philox's words.
    """
    places = torch.arange(rows.start, rows.stop, device=seed.device).unsqueeze(1)
    groups = _groups(columns, _NORMALS_A_COUNTER, seed.device)
    words = philox.words(seed, places, groups, philox.Use.ENTRIES)
    uniforms = (words.float() + 0.5) * 2.0**-32
    radii = (uniforms[0::2].log() * -2).sqrt()
    angles = uniforms[1::2] * (2 * math.pi)
    pairs = torch.stack([radii * angles.cos(), radii * angles.sin()], dim=1)
    # (pair, cosine or sine, row, group): the numbers of one counter are neighbours.
    return pairs.permute(2, 3, 0, 1).flatten(1)[:, : len(columns)].to(dtype)


def torch_normals(seed: Tensor) -> Entries:
    """Return entries that torch's own generator draws in the order of the calls."""
    generator = torch.Generator(seed.device).manual_seed(int(seed))

    def entries(_: Tensor, rows: range, columns: range, dtype: torch.dtype) -> Tensor:
        precise = torch.float64 if dtype == torch.float64 else torch.float32
        # The product reads S fastest if the numbers of a column are adjacent.
        size = (len(columns), len(rows))
        numbers = torch.randn(size, generator=generator, dtype=precise, device=seed.device)
        return numbers.to(dtype).T

    return entries


def project(x: Tensor, proj_dim: int, block_rows: int, seed: Tensor, entries: Entries) -> Tensor:
    """Return SᵀX, shape (proj_dim, features), for an S of `entries` and of variance 1 / columns.

    Args:
        x: Shape (rows, features).
        proj_dim: Columns of S, the same number for each block.
        block_rows: Rows a block; all of them, or a divisor.
        seed: One int64 number on x's device.
        entries: Returns the entries of S.
    """
    # The kernel makes these two kinds of entries; tensor cores do not help with float64.
    has_kernel = entries in (sign_entries, normal_entries) and x.dtype != torch.float64
    kernel = "_triton_dense:project" if has_kernel else None
    return kernel_or_twin(kernel, project_twin, x, proj_dim, block_rows, seed, entries)


def project_twin(
    x: Tensor, proj_dim: int, block_rows: int, seed: Tensor, entries: Entries
) -> Tensor:
    """Compute `project` with PyTorch's own operators; S is drawn in pieces."""
    blocks, features = x.shape[0] // block_rows, x.shape[1]
    columns = proj_dim // blocks
    x_proj = x.new_empty(blocks, columns, features)
    width = columns_at_once(columns, block_rows)
    # As many small blocks as fit are drawn together; signs are drawn for at least 128 columns.
    drawn = block_rows * -(-width // _SIGNS_A_COUNTER) * _SIGNS_A_COUNTER
    together = max(1, _PIECE_ELEMENTS // drawn) if width == columns else 1

    power, rest = split_scale(columns)

    def drawn_entries(rows: range, chosen: range) -> Tensor:
        return entries(seed, rows, chosen, x.dtype).mul_(power)

    for block in range(0, blocks, together):
        some = x.view(blocks, block_rows, features)[block : block + together]
        for start in range(0, columns, width):
            chosen = range(start, min(start + width, columns))
            out = x_proj[block : block + together, start : chosen.stop]
            _project_piece(some, block * block_rows, chosen, drawn_entries, rest, out)
    return x_proj.view(proj_dim, features)


def split_scale(columns: int) -> tuple[float, float]:
    """Return a power of two and a factor in [1, 2) whose product is columns^−½.

    Entries ±columns^−½ would all be rounded to x's dtype in the same direction, which would bias
    the gradient, in bfloat16 by up to 0.8 %. A power of two is exact. The factor multiplies the
    sums before they are rounded; applied later, a factor near 1 would be lost.
    """
    scale = columns**-0.5
    power = 2.0 ** math.floor(math.log2(scale))
    return power, scale / power


def _project_piece(
    x: Tensor,
    first: int,
    columns: range,
    entries: Callable[[range, range], Tensor],
    factor: float,
    out: Tensor,
) -> None:
    """Write SᵀX for some columns of S and for consecutive blocks.

    Args:
        x: Shape (blocks, rows, features).
        first: The number of the first row in S.
        columns: The columns of S.
        entries: Returns S for rows and columns.
        factor: Multiplies the sums.
        out: Shape (blocks, columns, features).
    """
    blocks, rows, features = x.shape
    height = _PIECE_ELEMENTS // _SIGNS_A_COUNTER
    if rows <= height:
        s = entries(range(first, first + blocks * rows), columns).view(blocks, rows, len(columns))
        torch.baddbmm(out, s.transpose(1, 2), x, beta=0, alpha=factor, out=out)
        return
    # A block with more rows than can be drawn together comes alone.
    precise = torch.promote_types(x.dtype, torch.float32)
    total = x.new_zeros(len(columns), features, dtype=precise)
    for row in range(0, rows, height):
        some = x[0, row : row + height]
        total += entries(range(first + row, first + row + some.shape[0]), columns).T @ some
    out.copy_(total.mul_(factor))


def columns_at_once(columns: int, block_rows: int) -> int:
    """Return how many columns of S to draw together; X and Y need the same, so S alone decides."""
    fits = _PIECE_ELEMENTS // block_rows // _SIGNS_A_COUNTER * _SIGNS_A_COUNTER
    # An eighth of a small S, so that a piece is not the peak of a small model.
    eighth = -(-columns // (8 * _SIGNS_A_COUNTER)) * _SIGNS_A_COUNTER
    return min(columns, max(_SIGNS_A_COUNTER, min(fits, eighth)))


def _groups(columns: range, size: int, device: torch.device) -> Tensor:
    return torch.arange(columns.start // size, -(-columns.stop // size), device=device)
