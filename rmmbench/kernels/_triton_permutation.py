"""The swap-or-not permutation as one elementwise Triton kernel; its twin is in `permutation`."""

# ruff: noqa: N803 -- constants of a kernel are in capitals, as in Triton's own code
# mypy: disable-error-code="untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

from rmmbench.kernels.permutation import ROUNDS
from rmmbench.kernels.philox import Use

# Places per program. Each program makes the keys of all rounds itself: 15 calls of Philox cost less
# than launching kernels that make them once.
_BLOCK = 512


def permutation(seed: Tensor, rows: int) -> Tensor:
    """Return a random permutation of range(rows), int32; see `permutation.permutation`."""
    order = torch.empty(rows, dtype=torch.int32, device=seed.device)
    if rows:
        grid = (triton.cdiv(rows, _BLOCK),)
        permutation_fwd_kernel[grid](
            seed,
            order,
            rows,
            ROUNDS=ROUNDS,
            USE=int(Use.PERMUTATION),
            BLOCK=_BLOCK,
            enable_fp_fusion=True,
        )
    return order


@triton.jit(do_not_specialize=["rows"])
def permutation_fwd_kernel(
    seed_ptr: tl.tensor,
    order_ptr: tl.tensor,
    rows: tl.tensor,
    ROUNDS: tl.constexpr,
    USE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write where all rounds move each place."""
    tl.static_assert(ROUNDS % 4 == 0, "the keys of four rounds are the words of one counter")
    offs_places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    seed = tl.load(seed_ptr)
    place = offs_places
    for group in range(ROUNDS // 4):
        counter = tl.cast(group, tl.uint32)
        k0, k1, k2, k3 = tl.philox(seed, counter, 0, USE, 0)
        a0, a1, a2, a3 = tl.philox(seed, counter + ROUNDS // 4, 0, USE, 0)
        b0, b1, b2, b3 = tl.philox(seed, counter + ROUNDS // 2, 0, USE, 0)
        place = _swap(place, rows, k0, a0, b0)
        place = _swap(place, rows, k1, a1, b1)
        place = _swap(place, rows, k2, a2, b2)
        place = _swap(place, rows, k3, a3, b3)
    tl.store(order_ptr + offs_places, place, mask=offs_places < rows)


@triton.jit
def _swap(place: tl.tensor, rows: tl.tensor, k: tl.tensor, a: tl.tensor, b: tl.tensor) -> tl.tensor:
    """Return where one round moves each place."""
    partner = tl.umulhi(k, tl.cast(rows, tl.uint32)).to(tl.int32) - place
    partner = tl.where(partner < 0, partner + rows, partner)
    larger = tl.maximum(place, partner).to(tl.uint32)
    # Unsigned, so modulo 2³²; the highest bit says whether they swap.
    moves = ((larger * a + b) >> 31) != 0
    return tl.where(moves, partner, place)
