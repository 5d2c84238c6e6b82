"""What each Triton kernel allocates, for tensors that stand for a GPU's but have no numbers.

An outline has the name and the parameters of the function that launches the kernel. How many
programs share the work decides how much partial results take, so that is here for both.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rmmbench.kernels import levels

# Programs of the dense kernel: rows are divided among them until there is one for each processor of
# an H100 or H200, where each has no fewer rows than this. Partial results take 17 MiB at most.
_PROGRAMS = 132
_FEWEST_ROWS = 512

# Programs that share the sum of all rows: 8 for each processor of an H100. More would read no
# faster, and each writes a partial sum of its own, about 1 MiB together.
PROGRAMS_WITH_TOTAL = 1024
# Bins × features of a program: 8 for each of 128 threads, one read of 16 bytes in bfloat16.
BINS_TILE = 1024
BINS_FEATURES = 256
# Rows of a bin that are read together, to hide how long memory takes.
BINS_READS = 4


def stream(seed: Tensor, count: int, use: int) -> Tensor:
    """Return room for `count` words."""
    return torch.empty(count, dtype=torch.int64, device=seed.device)


def permutation(seed: Tensor, rows: int) -> Tensor:
    """Return room for a permutation."""
    return torch.empty(rows, dtype=torch.int32, device=seed.device)


def bin_sums(x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor) -> Tensor:
    """Return room for each bin's sum; the kernel reads `order` and `starts` as int32."""
    _ = order.to(torch.int32), starts.to(torch.int32)
    return x.new_empty(len(starts), x.shape[1])


def bin_sums_and_total(
    y: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor
) -> tuple[Tensor, Tensor]:
    """Return room for each bin's sum and for that of all rows, which is added up from parts."""
    sums = bin_sums(y, order, starts, sign_words)
    return sums, partial_totals(y, len(starts)).sum(0).to(y.dtype)


def bin_sums_in_bits(
    x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor, bits: int, seed: Tensor
) -> tuple[Tensor, Tensor]:
    """Return room for the levels and the ends of each bin's sum."""
    _ = order.to(torch.int32), starts.to(torch.int32)
    return levels.new_rounded(x, bits, rows=len(starts))


def project(x: Tensor, proj_dim: int, block_rows: int, seed: Tensor, entries: object) -> Tensor:
    """Return room for SᵀX, which is added up from parts where rows are divided."""
    return added_up(dense_parts(x, proj_dim, dense_shape(x, proj_dim, block_rows)), x.dtype)


def round_to_bits(x: Tensor, bits: int, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Return room for the levels and the ends of a matrix."""
    return levels.new_rounded(x, bits)


def restored(packed: Tensor, ends: Tensor, width: int, bits: int, dtype: torch.dtype) -> Tensor:
    """Return room for a matrix."""
    return packed.new_empty(len(packed), width, dtype=dtype)


class DenseBlocks(NamedTuple):
    """The sizes of one program of the dense kernel.

    Attributes:
        columns: Columns of S; the signs of one counter.
        features: Features of X.
        rows: Rows that are multiplied at once.
        warps: Warps of a program.
        stages: Pieces of X that are loaded ahead.
    """

    columns: int
    features: int
    rows: int
    warps: int = 8
    stages: int = 2


# On tensor cores the accumulator takes half of the registers, 128 for each of 256 threads. More
# stages would not fit the 99 KiB of shared memory of a consumer GPU, and making S takes longer than
# loading X.
_HALF = DenseBlocks(128, 256, 64)
_TF32 = DenseBlocks(128, 256, 32)
# Without tensor cores the operands of a product are in registers too.
_FLOAT = DenseBlocks(128, 64, 16)


class DenseShape(NamedTuple):
    """How the programs of the dense kernel share the work.

    Attributes:
        blocks: The sizes of one.
        columns: Of S, in a block of its own.
        tiles: How many programs the rows of one part take.
        splits: Into how many parts a block's rows are divided.
        rows_a_split: Rows of a part.
    """

    blocks: DenseBlocks
    columns: int
    tiles: int
    splits: int
    rows_a_split: int


def dense_shape(x: Tensor, proj_dim: int, block_rows: int) -> DenseShape:
    """Return how SᵀX is shared out, for X of shape (rows, features)."""
    rows, features = x.shape
    own_blocks = rows // block_rows
    columns = proj_dim // own_blocks
    size = _HALF if x.itemsize == 2 else _TF32 if is_tf32() else _FLOAT
    size = size._replace(
        columns=_fitting(columns, size.columns), features=_fitting(features, size.features)
    )
    tiles = ceil_div(columns, size.columns) * ceil_div(features, size.features) * own_blocks
    splits = max(1, min(_PROGRAMS // max(1, tiles), block_rows // _FEWEST_ROWS))
    rows_a_split = ceil_div(ceil_div(block_rows, splits), size.rows) * size.rows
    return DenseShape(size, columns, tiles, ceil_div(block_rows, rows_a_split), rows_a_split)


def dense_parts(x: Tensor, proj_dim: int, shape: DenseShape) -> Tensor:
    """Return room for the parts of SᵀX, shape (splits, proj_dim, features)."""
    partial = torch.float32 if shape.splits > 1 else x.dtype
    return x.new_empty(shape.splits, proj_dim, x.shape[1], dtype=partial)


def added_up(parts: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the sum of parts."""
    return parts[0] if len(parts) == 1 else parts.sum(0).to(dtype)


def is_tf32() -> bool:
    """Tell whether float32 products may round to TF32."""
    return bool(torch.backends.cuda.matmul.fp32_precision == "tf32")


def _fitting(length: int, limit: int) -> int:
    """Return the size of a block that covers `length`: from 16, as a product needs, to `limit`."""
    return min(limit, max(16, next_power_of_2(length)))


def partial_totals(y: Tensor, bins: int) -> Tensor:
    """Return room for each program's sum of its rows."""
    precise = torch.float64 if y.dtype == torch.float64 else torch.float32
    programs = bins_shape(y, bins, with_total=True)[2]
    return y.new_empty(programs, y.shape[1], dtype=precise)


def bins_shape(x: Tensor, bins: int, *, with_total: bool) -> tuple[int, int, int]:
    """Return a program's features, how many lanes share a bin, and how many programs there are."""
    rows, features = x.shape
    block_features = block_features_of(features)
    lanes = BINS_TILE // block_features
    # Where bins are large several lanes share one, as long as each has rows to read at once.
    parts = max(1, min(lanes, next_power_of_2(rows // (bins * BINS_READS) + 1) // 2))
    programs = ceil_div(bins, lanes // parts)
    if with_total:
        blocks = max(1, ceil_div(features, block_features))
        programs = min(programs, ceil_div(PROGRAMS_WITH_TOTAL, blocks))
    return block_features, parts, programs


def block_features_of(features: int) -> int:
    """Return the features of a program: whole groups of few bits, or all of the only one."""
    # In few bits eight share a counter of Philox, and some of them a byte.
    return min(BINS_FEATURES, max(8, next_power_of_2(features)))


def ceil_div(number: int, divisor: int) -> int:
    """Return the quotient, rounded up."""
    return -(-number // divisor)


def next_power_of_2(number: int) -> int:
    """Return the least power of 2 that is no less; 1 for 0."""
    return 1 << max(0, number - 1).bit_length()
