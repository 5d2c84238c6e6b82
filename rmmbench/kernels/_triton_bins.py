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

from rmmbench.kernels import levels, outlines
from rmmbench.kernels._triton_rounding import store_in_bits

_WARPS = 4


def bin_sums(x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor) -> Tensor:
    """Return the signed sum of each bin's rows; see `bins.bin_sums`."""
    sums = x.new_empty(len(starts), x.shape[1])
    _launch(x, order, starts, sign_words, sums)
    return sums


def bin_sums_and_total(
    y: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor
) -> tuple[Tensor, Tensor]:
    """Return those sums and the plain sum of all rows; see `bins.bin_sums_and_total`."""
    sums = y.new_empty(len(starts), y.shape[1])
    partial_totals = outlines.partial_totals(y, len(starts))
    _launch(y, order, starts, sign_words, sums, totals=partial_totals)
    return sums, partial_totals.sum(0).to(y.dtype)


def bin_sums_in_bits(
    x: Tensor, order: Tensor, starts: Tensor, sign_words: Tensor, bits: int, seed: Tensor
) -> tuple[Tensor, Tensor]:
    """Return those sums in few bits; see `bins.bin_sums_in_bits`."""
    packed, ends = levels.new_rounded(x, bits, rows=len(starts))
    _launch(x, order, starts, sign_words, packed, ends=ends, bits=bits, seed=seed)
    return packed, ends


def _launch(
    x: Tensor,
    order: Tensor,
    starts: Tensor,
    sign_words: Tensor,
    out: Tensor,
    *,
    totals: Tensor | None = None,
    ends: Tensor | None = None,
    bits: int = 0,
    seed: Tensor | None = None,
) -> None:
    """Write the signed sum of each bin, and what else there is room for."""
    rows, features = x.shape
    bins = len(starts)
    with_total = totals is not None
    block_features, parts, programs = outlines.bins_shape(x, bins, with_total=with_total)
    if not features:
        return
    # What a kernel is not asked for it does not write; any address does.
    bin_sums_fwd_kernel[(programs * outlines.ceil_div(features, block_features),)](
        x,
        order.to(torch.int32),
        starts.to(torch.int32),
        sign_words,
        out,
        out if totals is None else totals,
        out if ends is None else ends,
        order if seed is None else seed,
        rows,
        features,
        bins,
        x.stride(0),
        x.stride(1),
        WITH_TOTAL=with_total,
        ACCUMULATOR=tl.float64 if x.dtype == torch.float64 else tl.float32,
        BLOCK_BINS=outlines.BINS_TILE // block_features // parts,
        PARTS=parts,
        BLOCK_FEATURES=block_features,
        READS=outlines.BINS_READS,
        BITS=bits,
        num_warps=_WARPS,
        # Rounding agrees with its twin to the bit.
        enable_fp_fusion=not bits,
    )


@triton.jit(do_not_specialize=["rows", "bins"])
def bin_sums_fwd_kernel(
    x_ptr: tl.tensor,
    order_ptr: tl.tensor,
    starts_ptr: tl.tensor,
    sign_words_ptr: tl.tensor,
    out_ptr: tl.tensor,
    totals_ptr: tl.tensor,
    ends_ptr: tl.tensor,
    seed_ptr: tl.tensor,
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
    BITS: tl.constexpr,
) -> None:
    """Write the sums of every `programs`-th block of bins for one block of features.

    They are numbers if BITS is 0, else levels and ends.
    """
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
        if BITS:
            store_in_bits(
                sums_of_bins.to(tl.float32),
                offs_bins,
                bins,
                pid_features,
                features,
                tl.load(seed_ptr),
                out_ptr,
                ends_ptr,
                BITS,
            )
        else:
            tl.store(
                out_ptr + offs_bins.to(tl.int64)[:, None] * features + offs_features[None, :],
                sums_of_bins.to(out_ptr.dtype.element_ty),
                mask=(offs_bins < bins)[:, None] & mask_features[None, :],
            )
    if WITH_TOTAL:
        totals_ptrs = totals_ptr + pid_bins.to(tl.int64) * features + offs_features
        tl.store(totals_ptrs, tl.sum(total, axis=0), mask=mask_features)
