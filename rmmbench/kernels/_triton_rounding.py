"""Few bits a number as two Triton kernels, to and fro; their twins are in `rounding`.

A program owns some rows and whole groups of their features. It reads each number once, makes the
random bits with Philox, and writes bytes. Twin and kernel agree to the bit, so nothing is fused
that the twin rounds in between.
"""

# ruff: noqa: N803, N806 -- constants of a kernel are in capitals, as in Triton's own code
# mypy: disable-error-code="untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

from rmmbench.kernels import levels, outlines
from rmmbench.kernels.philox import Use

# Numbers of a program: 16 for each of 128 threads.
_TILE = 2048
_WARPS = 4

GROUP_SIZE = tl.constexpr(levels.GROUP_SIZE)
USE = tl.constexpr(int(Use.ROUNDING))


def round_to_bits(x: Tensor, bits: int, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix in few bits; see `rounding.round_to_bits`."""
    packed, ends = outlines.round_to_bits(x, bits, seed)
    if x.numel():
        grid, blocks = _shared_out(*x.shape)
        round_fwd_kernel[grid](
            x,
            seed,
            packed,
            ends,
            *x.shape,
            *x.stride(),
            BITS=bits,
            **blocks,
            num_warps=_WARPS,
            enable_fp_fusion=False,
        )
    return packed, ends


def restored(packed: Tensor, ends: Tensor, width: int, bits: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix that a few bits stand for; see `rounding.restored`."""
    out = outlines.restored(packed, ends, width, bits, dtype)
    if out.numel():
        grid, blocks = _shared_out(*out.shape)
        restore_fwd_kernel[grid](
            packed,
            ends,
            out,
            *out.shape,
            packed.stride(0),
            ends.stride(0),
            BITS=bits,
            **blocks,
            num_warps=_WARPS,
            enable_fp_fusion=False,
        )
    return out


def _shared_out(rows: int, features: int) -> tuple[tuple[int], dict[str, int]]:
    """Return the number of programs, and how much of a matrix each has."""
    block_features = outlines.block_features_of(features)
    block_rows = _TILE // block_features
    programs = triton.cdiv(rows, block_rows) * triton.cdiv(features, block_features)
    return (programs,), {"BLOCK_ROWS": block_rows, "BLOCK_FEATURES": block_features}


@triton.jit(do_not_specialize=["rows"])
def round_fwd_kernel(
    x_ptr: tl.tensor,
    seed_ptr: tl.tensor,
    levels_ptr: tl.tensor,
    ends_ptr: tl.tensor,
    rows: tl.tensor,
    features: tl.tensor,
    stride_row: tl.tensor,
    stride_feature: tl.tensor,
    BITS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
) -> None:
    """Write one block of rows and features in few bits."""
    feature_blocks = tl.cdiv(features, BLOCK_FEATURES)
    pid_features = tl.program_id(0) % feature_blocks
    offs_rows = tl.program_id(0) // feature_blocks * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    offs_features = pid_features * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    values = tl.load(
        x_ptr
        + offs_rows.to(tl.int64)[:, None] * stride_row
        + offs_features.to(tl.int64)[None, :] * stride_feature,
        mask=(offs_rows < rows)[:, None] & (offs_features < features)[None, :],
        other=0.0,
    ).to(tl.float32)
    store_in_bits(
        values,
        offs_rows,
        rows,
        pid_features,
        features,
        tl.load(seed_ptr),
        levels_ptr,
        ends_ptr,
        BITS,
    )


@triton.jit
def store_in_bits(
    values: tl.tensor,
    offs_rows: tl.tensor,
    rows: tl.tensor,
    pid_features: tl.tensor,
    features: tl.tensor,
    seed: tl.tensor,
    levels_ptr: tl.tensor,
    ends_ptr: tl.tensor,
    BITS: tl.constexpr,
) -> None:
    """Round a block of numbers, shape (rows, features), float32, and write its levels and ends."""
    BLOCK_ROWS: tl.constexpr = values.shape[0]
    BLOCK_FEATURES: tl.constexpr = values.shape[1]
    GROUP: tl.constexpr = GROUP_SIZE if BLOCK_FEATURES > GROUP_SIZE else BLOCK_FEATURES
    GROUPS: tl.constexpr = BLOCK_FEATURES // GROUP
    A_BYTE: tl.constexpr = 8 // BITS
    BYTES: tl.constexpr = BLOCK_FEATURES // A_BYTE
    offs_features = pid_features * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    # The last number pads the last group.
    last = tl.sum(tl.where((offs_features == features - 1)[None, :], values, 0.0), axis=1)
    values = tl.where((offs_features < features)[None, :], values, last[:, None])
    grouped = tl.reshape(values, (BLOCK_ROWS, GROUPS, GROUP))
    least, greatest = tl.min(grouped, axis=2), tl.max(grouped, axis=2)
    # The least and the greatest number leave out what is none; it has to be seen.
    has_nan = tl.max((grouped != grouped).to(tl.int32), axis=2) > 0
    least = _as_bfloat16(least - tl.abs(least) * 0.00390625)
    step = (greatest - least) * (1.00390625 / ((1 << BITS) - 1))
    step = _as_bfloat16(tl.maximum(step, 1.1754943508222875e-38))
    least = tl.where(has_nan, float("nan"), least)

    places = (grouped - least[:, :, None]) * tl.div_rn(1.0, step)[:, :, None]
    chances = _chances(seed, offs_rows, pid_features, BLOCK_ROWS, BLOCK_FEATURES)
    places += tl.reshape(chances, (BLOCK_ROWS, GROUPS, GROUP))
    chosen = tl.reshape(places.to(tl.int32) - 1, (BLOCK_ROWS, BYTES, A_BYTE))
    # What is past the last feature, and what is no number, must not spill into its neighbours.
    chosen = tl.where(
        tl.reshape(offs_features < features, (1, BYTES, A_BYTE)), chosen & ((1 << BITS) - 1), 0
    )
    packed = tl.sum(chosen << (tl.arange(0, A_BYTE) * BITS)[None, None, :], axis=2)

    mask_rows = (offs_rows < rows)[:, None]
    bytes_a_row, groups_a_row = tl.cdiv(features, A_BYTE), tl.cdiv(features, GROUP)
    offs_bytes = pid_features * BYTES + tl.arange(0, BYTES)[None, :]
    rows_64 = offs_rows.to(tl.int64)[:, None]
    tl.store(
        levels_ptr + rows_64 * bytes_a_row + offs_bytes,
        packed.to(tl.uint8),
        mask=mask_rows & (offs_bytes < bytes_a_row),
    )
    offs_groups = pid_features * GROUPS + tl.arange(0, GROUPS)[None, :]
    ends_ptrs = ends_ptr + (rows_64 * groups_a_row + offs_groups) * 2
    mask_groups = mask_rows & (offs_groups < groups_a_row)
    tl.store(ends_ptrs, least.to(tl.bfloat16), mask=mask_groups)
    tl.store(ends_ptrs + 1, step.to(tl.bfloat16), mask=mask_groups)


@triton.jit
def _as_bfloat16(values: tl.tensor) -> tl.tensor:
    """Return float32 numbers rounded to the nearest of bfloat16, ties to even."""
    # TODO: `.to(tl.bfloat16)` once Triton's interpreter rounds; that of 3.9 cuts bits off.
    bits = values.to(tl.uint32, bitcast=True)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def _chances(
    seed: tl.tensor,
    offs_rows: tl.tensor,
    pid_features: tl.tensor,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
) -> tl.tensor:
    """Return 1 + u, as `chances.philox_chances` does, shape (rows, features)."""
    offs_counters = pid_features * (BLOCK_FEATURES // 8) + tl.arange(0, BLOCK_FEATURES // 8)
    w0, w1, w2, w3 = tl.philox(seed, offs_rows[:, None], offs_counters[None, :], USE, 0)
    # (row, counter, pair, first or second of it), and then the word's lower and upper half.
    words = tl.join(tl.join(w0, w2), tl.join(w1, w3)).to(tl.int32, bitcast=True)
    halves = tl.join((words << 16) >> 16, words >> 16)
    chances = halves.to(tl.float32) * 1.52587890625e-05 + 1.50000762939453125
    return tl.reshape(chances, (BLOCK_ROWS, BLOCK_FEATURES))


@triton.jit(do_not_specialize=["rows"])
def restore_fwd_kernel(
    levels_ptr: tl.tensor,
    ends_ptr: tl.tensor,
    out_ptr: tl.tensor,
    rows: tl.tensor,
    features: tl.tensor,
    levels_stride: tl.tensor,
    ends_stride: tl.tensor,
    BITS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
) -> None:
    """Write one block of rows and features of the matrix."""
    A_BYTE: tl.constexpr = 8 // BITS
    feature_blocks = tl.cdiv(features, BLOCK_FEATURES)
    offs_rows = tl.program_id(0) // feature_blocks * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    first_feature = tl.program_id(0) % feature_blocks * BLOCK_FEATURES
    offs_features = (first_feature + tl.arange(0, BLOCK_FEATURES))[None, :]
    rows_64 = offs_rows.to(tl.int64)[:, None]
    mask = (offs_rows < rows)[:, None] & (offs_features < features)
    packed = tl.load(levels_ptr + rows_64 * levels_stride + offs_features // A_BYTE, mask, 0)
    level = (packed.to(tl.int32) >> (offs_features % A_BYTE * BITS)) & ((1 << BITS) - 1)
    ends_ptrs = ends_ptr + rows_64 * ends_stride + offs_features // GROUP_SIZE * 2
    least = tl.load(ends_ptrs, mask, 0).to(tl.float32)
    step = tl.load(ends_ptrs + 1, mask, 0).to(tl.float32)
    values = level.to(tl.float32) * step + least
    tl.store(
        out_ptr + rows_64 * features + offs_features,
        values.to(out_ptr.dtype.element_ty),
        mask=mask,
    )
