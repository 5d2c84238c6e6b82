"""Products with an S of independent entries, drawn in pieces, applied, forgotten.

Entry (i, j) of S is a function of seed, i and j: of signs, Philox's bit j % 128 at the counter
(i, j // 128); of normals, its number j % 4 at (i, j // 4). With blocks S is block-diagonal and j
counts within the block. On the CPU normals are torch's own generator's, which is faster: there a
seed means another S than on a GPU.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rmmbench.kernels import philox
from rmmbench.kernels.launch import kernel_or_twin

# Elements of a piece of S, so that with the bits it is made of it holds no more than 64 MiB.
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
    """Return normal numbers for the rows and columns of S, by Box and Muller from Philox's words.

    Columns must start at a multiple of 4.
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
    """Return entries that are the next numbers of a generator of torch's own, whatever is asked."""
    generator = torch.Generator(seed.device).manual_seed(int(seed))

    def entries(_: Tensor, rows: range, columns: range, dtype: torch.dtype) -> Tensor:
        precise = torch.float64 if dtype == torch.float64 else torch.float32
        # A column's numbers lie together: then the product reads them fastest.
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
        entries: What S is made of.
    """
    # A kernel makes these entries, and tensor cores have no use for float64.
    has_kernel = entries in (sign_entries, normal_entries) and x.dtype != torch.float64
    kernel = "_triton_dense:project" if has_kernel else None
    return kernel_or_twin(kernel, project_twin, x, proj_dim, block_rows, seed, entries)


def project_twin(
    x: Tensor, proj_dim: int, block_rows: int, seed: Tensor, entries: Entries
) -> Tensor:
    """Return what `project` does, in PyTorch's own operators: S is drawn in pieces."""
    blocks, features = x.shape[0] // block_rows, x.shape[1]
    columns = proj_dim // blocks
    x_proj = x.new_empty(blocks, columns, features)
    width = columns_at_once(columns, block_rows)
    # Small blocks are drawn together, as many as fit; signs are drawn 128 columns at least.
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
    """Return columns^−½ as a power of two and what is left of it, in [1, 2).

    Entries ±columns^−½ would be rounded to x's dtype all alike, and the gradient be biased: in
    bfloat16 by up to 0.8 %. A power of two is exact. The rest comes after the sums and before they
    are rounded: near 1 it would be lost in numbers that have been.
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
    """Write some columns' SᵀX for blocks that follow one another from row `first` on.

    Args:
        x: Shape (blocks, rows, features).
        first: The number of the first row.
        columns: Of S.
        entries: Returns S for rows and columns.
        factor: What the sums are multiplied with.
        out: Shape (blocks, columns, features).
    """
    blocks, rows, features = x.shape
    height = _PIECE_ELEMENTS // _SIGNS_A_COUNTER
    if rows <= height:
        s = entries(range(first, first + blocks * rows), columns).view(blocks, rows, len(columns))
        torch.baddbmm(out, s.transpose(1, 2), x, beta=0, alpha=factor, out=out)
        return
    # A block of more rows than can be drawn together is there alone.
    precise = torch.promote_types(x.dtype, torch.float32)
    total = x.new_zeros(len(columns), features, dtype=precise)
    for row in range(0, rows, height):
        some = x[0, row : row + height]
        total += entries(range(first + row, first + row + some.shape[0]), columns).T @ some
    out.copy_(total.mul_(factor))


def columns_at_once(columns: int, block_rows: int) -> int:
    """Return how many columns of S to draw together: of its size alone, so that X and Y agree."""
    fits = _PIECE_ELEMENTS // block_rows // _SIGNS_A_COUNTER * _SIGNS_A_COUNTER
    # An eighth where S is small, so that a piece is not the peak of a small model.
    eighth = -(-columns // (8 * _SIGNS_A_COUNTER)) * _SIGNS_A_COUNTER
    return min(columns, max(_SIGNS_A_COUNTER, min(fits, eighth)))


def _groups(columns: range, size: int, device: torch.device) -> Tensor:
    return torch.arange(columns.start // size, -(-columns.stop // size), device=device)
