"""Philox 4×32-10 as a Triton kernel; its twin is in `philox`."""

# ruff: noqa: N803 -- constants of a kernel are in capitals, as in Triton's own code
# mypy: disable-error-code="untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

# Counters per program: one program makes the signs of a few rows, and the bins of a million rows
# still fill a GPU.
_BLOCK = 256


def stream(seed: Tensor, count: int, use: int) -> Tensor:
    """Return the first `count` words of one use; see `philox.stream`."""
    return stream_from(seed, count, first=0, column=0, use=use, last=0)


def stream_from(
    seed: Tensor, count: int, *, first: int, column: int, use: int, last: int
) -> Tensor:
    """Return `count` words of the counters (place, column, use, last), place from `first` on."""
    words = torch.empty(count, dtype=torch.int64, device=seed.device)
    if count:
        grid = (triton.cdiv(count, 4 * _BLOCK),)
        # enable_fp_fusion is given because Triton 3.9 warns where it is not.
        philox_fwd_kernel[grid](
            seed, words, count, first, column, use, last, BLOCK=_BLOCK, enable_fp_fusion=True
        )
    return words


@triton.jit(do_not_specialize=["count", "first", "column", "use", "last"])
def philox_fwd_kernel(
    seed_ptr: tl.tensor,
    words_ptr: tl.tensor,
    count: tl.tensor,
    first: tl.tensor,
    column: tl.tensor,
    use: tl.tensor,
    last: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Write the four words of BLOCK counters, those of one counter side by side."""
    pid_counters = tl.program_id(0).to(tl.int64)
    places = (first + pid_counters * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)
    seed = tl.load(seed_ptr)
    w0, w1, w2, w3 = tl.philox(
        seed, places, tl.cast(column, tl.uint32), tl.cast(use, tl.uint32), tl.cast(last, tl.uint32)
    )
    # (counter, pair, first or second of it): flat, the words of each counter in turn.
    words = tl.join(tl.join(w0, w2), tl.join(w1, w3)).to(tl.int64)
    offs_words = pid_counters * (4 * BLOCK) + tl.arange(0, 4 * BLOCK)
    tl.store(words_ptr + offs_words, tl.reshape(words, (4 * BLOCK,)), mask=offs_words < count)
