"""Signed sums of bins as one Triton kernel; its twin is in `bins`.

A program owns a few bins and a block of features. It reads the rows of its bins by `order`, so each
element of X is read once, nothing is added atomically, and the result is the same to the bit.
"""

# ruff: noqa: N803, N806 -- constants of a kernel are in capitals, as in Triton's own code
# mypy: disable-error-code="untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

from rmmbench.kernels import outlines

_WARPS = 4


def bin_sums(x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor) -> Tensor:
    """Return the signed sum of each bin's rows; see `bins.bin_sums`."""
    return _launch(x, order, starts, sign_words, with_total=False)[0]


def bin_sums_and_total(
    y: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor
) -> tuple[Tensor, Tensor]:
    """Return those sums and the plain sum of all rows; see `bins.bin_sums_and_total`."""
    sums, partial_totals = _launch(y, order, starts, sign_words, with_total=True)
    return sums, partial_totals.sum(0).to(y.dtype)


def _launch(
    x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor, *, with_total: bool
) -> tuple[Tensor, Tensor]:
    """Return the signed sum of each bin, and partial sums of all rows if `with_total`."""
    rows, features = x.shape
    bins = len(starts)
    precise = torch.float64 if x.dtype == torch.float64 else torch.float32
    block_features, parts, programs = outlines.bins_shape(x, bins, with_total=with_total)
    feature_blocks = outlines.ceil_div(features, block_features)
    sums = x.new_empty(bins, features)
    totals = x.new_empty(programs if with_total else 0, features, dtype=precise)
    if features:
        bin_sums_fwd_kernel[(programs * feature_blocks,)](
            x,
            order.to(torch.int32),
            starts.to(torch.int32),
            sign_words,
            sums,
            totals,
            rows,
            features,
            bins,
            x.stride(0),
            x.stride(1),
            WITH_TOTAL=with_total,
            ACCUMULATOR=tl.float64 if precise == torch.float64 else tl.float32,
            BLOCK_BINS=outlines.BINS_TILE // block_features // parts,
            PARTS=parts,
            BLOCK_FEATURES=block_features,
            READS=outlines.BINS_READS,
            num_warps=_WARPS,
            enable_fp_fusion=True,
        )
    return sums, totals


@triton.jit(do_not_specialize=["rows", "bins"])
def bin_sums_fwd_kernel(
    x_ptr: tl.tensor,
    order_ptr: tl.tensor,
    starts_ptr: tl.tensor,
    sign_words_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    totals_ptr: tl.tensor,
    rows: tl.tensor,
    features: tl.tensor,
    bins: tl.tensor,
    stride_row: tl.tensor,
    stride_feature: tl.tensor,
    WITH_TOTAL: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    BLOCK_BINS: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
    READS: tl.constexpr,
) -> None:
    """Write the sums of every `programs`-th block of bins for one block of features."""
    LANES: tl.constexpr = BLOCK_BINS * PARTS
    # Neighbouring programs read neighbouring features of the same rows.
    feature_blocks = tl.cdiv(features, BLOCK_FEATURES)
    pid_bins = tl.program_id(0) // feature_blocks
    pid_features = tl.program_id(0) % feature_blocks
    programs = tl.num_programs(0) // feature_blocks
    offs_features = pid_features * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    mask_features = offs_features < features
    x_ptrs = x_ptr + offs_features.to(tl.int64)[None, None, :] * stride_feature
    lane_bin, lane_part = tl.arange(0, LANES) // PARTS, tl.arange(0, LANES) % PARTS
    total = tl.zeros((LANES, BLOCK_FEATURES), ACCUMULATOR)
    for first_bin in range(pid_bins * BLOCK_BINS, bins, programs * BLOCK_BINS):
        bin_of_lane = first_bin + lane_bin
        # A lane past the last bin starts at its own end.
        start = tl.load(starts_ptr + bin_of_lane, mask=bin_of_lane < bins, other=rows)
        end = tl.load(starts_ptr + bin_of_lane + 1, mask=bin_of_lane + 1 < bins, other=rows)
        # (read, lane): a thread has all reads of its lanes, so it adds them up alone.
        place = (start + lane_part)[None, :] + tl.arange(0, READS)[:, None] * PARTS
        sums = tl.zeros((LANES, BLOCK_FEATURES), ACCUMULATOR)
        for _ in range(tl.cdiv(tl.max(end - start, axis=0), READS * PARTS)):
            mask_place = place < end[None, :]
            row = tl.load(order_ptr + place, mask=mask_place, other=0)
            values = tl.load(
                x_ptrs + row.to(tl.int64)[:, :, None] * stride_row,
                mask=mask_place[:, :, None] & mask_features[None, None, :],
                other=0.0,
            ).to(ACCUMULATOR)
            word = tl.load(sign_words_ptr + (row >> 5), mask=mask_place, other=0)
            sign = (1 - 2 * ((word >> (row & 31)) & 1)).to(ACCUMULATOR)
            sums += tl.sum(sign[:, :, None] * values, axis=0)
            if WITH_TOTAL:
                total += tl.sum(values, axis=0)
            place += READS * PARTS
        offs_bins = first_bin + tl.arange(0, BLOCK_BINS)
        sums_of_bins = tl.sum(tl.reshape(sums, (BLOCK_BINS, PARTS, BLOCK_FEATURES)), axis=1)
        tl.store(
            sums_ptr + offs_bins.to(tl.int64)[:, None] * features + offs_features[None, :],
            sums_of_bins.to(sums_ptr.dtype.element_ty),
            mask=(offs_bins < bins)[:, None] & mask_features[None, :],
        )
    if WITH_TOTAL:
        totals_ptrs = totals_ptr + pid_bins.to(tl.int64) * features + offs_features
        tl.store(totals_ptrs, tl.sum(total, axis=0), mask=mask_features)
