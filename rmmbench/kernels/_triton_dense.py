"""SᵀX as one Triton kernel that makes the entries of S inside the product; its twin is in `dense`.

A program owns a block of S's columns and of X's features. It goes down the rows, makes the piece of
S that it needs with Philox and multiplies, so S is never in memory. Every block of features makes S
again, so blocks are as wide as the registers allow.
"""

# ruff: noqa: N803 -- constants of a kernel are in capitals, as in Triton's own code
# mypy: disable-error-code="untyped-decorator"

import triton
import triton.language as tl
from torch import Tensor

from rmmbench.kernels import dense, outlines
from rmmbench.kernels.philox import Use


def project(
    x: Tensor, proj_dim: int, block_rows: int, seed: Tensor, entries: dense.Entries
) -> Tensor:
    """Return SᵀX for signs or normal numbers; see `dense.project`. Not for float64."""
    shape = outlines.dense_shape(x, proj_dim, block_rows)
    size, features = shape.blocks, x.shape[1]
    parts = outlines.dense_parts(x, proj_dim, shape)
    if features:
        dense_fwd_kernel[(shape.tiles, shape.splits)](
            x,
            seed,
            parts,
            shape.columns**-0.5,
            block_rows,
            shape.columns,
            features,
            shape.rows_a_split,
            x.stride(0),
            x.stride(1),
            NORMAL=entries is dense.normal_entries,
            USE=int(Use.ENTRIES),
            PRECISION="tf32" if outlines.is_tf32() else "ieee",
            BLOCK_COLUMNS=size.columns,
            BLOCK_FEATURES=size.features,
            BLOCK_ROWS=size.rows,
            num_warps=size.warps,
            num_stages=size.stages,
            enable_fp_fusion=True,
        )
    return outlines.added_up(parts, x.dtype)


@triton.jit(do_not_specialize=["block_rows", "columns", "rows_a_split"])
def dense_fwd_kernel(
    x_ptr: tl.tensor,
    seed_ptr: tl.tensor,
    x_proj_ptr: tl.tensor,
    scale: tl.tensor,
    block_rows: tl.tensor,
    columns: tl.tensor,
    features: tl.tensor,
    rows_a_split: tl.tensor,
    stride_row: tl.tensor,
    stride_feature: tl.tensor,
    NORMAL: tl.constexpr,
    USE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
) -> None:
    """Write one tile of one block's SᵀX, summed over one split of its rows."""
    feature_tiles = tl.cdiv(features, BLOCK_FEATURES)
    column_tiles = tl.cdiv(columns, BLOCK_COLUMNS)
    pid_features = tl.program_id(0) % feature_tiles
    pid_columns = tl.program_id(0) // feature_tiles % column_tiles
    pid_block = tl.program_id(0) // feature_tiles // column_tiles
    pid_split = tl.program_id(1)
    blocks = tl.num_programs(0) // feature_tiles // column_tiles
    offs_features = pid_features * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    mask_features = offs_features < features
    x_ptrs = x_ptr + offs_features.to(tl.int64)[None, :] * stride_feature
    seed = tl.load(seed_ptr)
    sums = tl.zeros((BLOCK_COLUMNS, BLOCK_FEATURES), tl.float32)
    first_row = pid_split * rows_a_split
    for row in range(first_row, tl.minimum(first_row + rows_a_split, block_rows), BLOCK_ROWS):
        offs_in_block = row + tl.arange(0, BLOCK_ROWS)
        offs_rows = pid_block * block_rows + offs_in_block
        mask = (offs_in_block < block_rows)[:, None] & mask_features[None, :]
        values = tl.load(x_ptrs + offs_rows.to(tl.int64)[:, None] * stride_row, mask=mask, other=0)
        if NORMAL:
            s = _normals(seed, offs_rows, pid_columns, USE, BLOCK_ROWS, BLOCK_COLUMNS)
        else:
            s = _signs(seed, offs_rows, pid_columns, USE, BLOCK_COLUMNS)
        # X is 0 past the last row, so any entries of S do there.
        s = tl.trans(s.to(values.dtype))
        sums = tl.dot(s, values, sums, input_precision=PRECISION)
    offs_columns = pid_columns * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    offs_out = (pid_split * blocks + pid_block).to(tl.int64) * columns + offs_columns
    tl.store(
        x_proj_ptr + offs_out[:, None] * features + offs_features[None, :],
        (sums * scale).to(x_proj_ptr.dtype.element_ty),
        mask=(offs_columns < columns)[:, None] & mask_features[None, :],
    )


@triton.jit
def _signs(
    seed: tl.tensor,
    offs_rows: tl.tensor,
    pid_columns: tl.tensor,
    USE: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
) -> tl.tensor:
    """Return ±1, shape (rows, columns); a row has the 128 bits of one counter.

    A block of fewer columns is the only one.
    """
    w0, w1, w2, w3 = tl.philox(seed, offs_rows, pid_columns, USE, 0)
    offs_bits = tl.arange(0, BLOCK_COLUMNS)[None, :]
    low = tl.where(offs_bits < 32, w0[:, None], w1[:, None])
    high = tl.where(offs_bits < 96, w2[:, None], w3[:, None])
    bits = tl.where(offs_bits < 64, low, high) << (31 - offs_bits % 32).to(tl.uint32)
    # The highest bit is the sign of a float; the other bits are those of 1.0.
    return ((bits & 0x80000000) | 0x3F800000).to(tl.float32, bitcast=True)


@triton.jit
def _normals(
    seed: tl.tensor,
    offs_rows: tl.tensor,
    pid_columns: tl.tensor,
    USE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
) -> tl.tensor:
    """Return normal numbers, shape (rows, columns), four from each counter side by side."""
    offs_groups = pid_columns * (BLOCK_COLUMNS // 4) + tl.arange(0, BLOCK_COLUMNS // 4)
    w0, w1, w2, w3 = tl.philox(seed, offs_rows[:, None], offs_groups[None, :], USE, 0)
    n0, n1 = _box_muller(w0, w1)
    n2, n3 = _box_muller(w2, w3)
    # Shape (row, group, pair, cosine or sine); the last three become the columns.
    numbers = tl.join(tl.join(n0, n2), tl.join(n1, n3))
    return tl.reshape(numbers, (BLOCK_ROWS, BLOCK_COLUMNS))


@triton.jit
def _box_muller(radius_word: tl.tensor, angle_word: tl.tensor) -> tl.tensor:
    """Return two normal numbers from two words."""
    # Divided by 2³², at the middle of each step: never 0, which has no logarithm.
    uniform = (radius_word.to(tl.float32) + 0.5) * 2.3283064365386963e-10
    radius = tl.sqrt(-2.0 * tl.log(uniform))
    angle = (angle_word.to(tl.float32) + 0.5) * (2.3283064365386963e-10 * 6.283185307179586)
    return radius * tl.cos(angle), radius * tl.sin(angle)
