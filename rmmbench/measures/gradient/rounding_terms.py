"""Measures the noise that rounding adds to a layer's weight gradient, at 8, 4 and 2 bits.

For x_proj whose rows are sums of m rows of X it is estimated as a ratio: over some such sums,
‖w‖² q(z) ÷ ‖w‖² ‖z‖². The mean of the denominator is known exactly (`product_of_sums`), and the two
vary together, so that a thousand sums tell the noise to a few percent.
"""

from typing import cast

import torch
from torch import Tensor

from rmmbench.kernels.rounding import rounding_variance
from rmmbench.results.layer_sums import BITS, SUMMED_ROWS, Bits, product_of_sums
from rmmbench.sketches.sketch import Moments

# Rows that are added up for one m, and the fewest sums.
_ROWS, _LEAST_SUMS = 2048, 256


def rounding_ratios(x: Tensor, y: Tensor) -> dict[int, tuple[float, ...]]:
    """Return by bits, for each m of SUMMED_ROWS up to the rows, the ratio of the two sums.

    The random numbers are the same for all layers of as many rows, and torch's stream stays as it
    was. Extra memory: float32 copies of X and Y, and of at most 2048 sums of their rows.

    Args:
        x: The layer's input, shape (*, N).
        y: The gradient of its output, shape (*, M).
    """
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        precise = torch.promote_types(x.dtype, torch.float32)
        x, y = (matrix.detach().reshape(-1, matrix.shape[-1]).to(precise) for matrix in (x, y))
        generator = torch.Generator().manual_seed(0)
        found: dict[int, list[float]] = {bits: [] for bits in BITS}
        for summed in (m for m in SUMMED_ROWS if m <= len(x)):
            z, w = _sums_of_rows(x, y, summed, generator)
            squares = [matrix.double().square().sum(1) for matrix in (z, w)]
            size = float(squares[0].dot(squares[1])) or 1.0
            for bits in BITS:
                found[bits].append(rounding_variance(z, w, bits) / size)
    return {bits: tuple(ratios) for bits, ratios in found.items()}


def rounding_noise(
    ratios: dict[int, tuple[float, ...]], rows: int, moments: Moments
) -> dict[Bits, tuple[float, ...]]:
    """Return the noise by bits for each m, as `LayerSums.rounding` has it."""
    sums = rows, moments.a, moments.g, moments.d
    sizes = [product_of_sums(m, *sums) for m in SUMMED_ROWS if m <= rows]
    noise = {
        str(bits): tuple(ratio * size for ratio, size in zip(measured, sizes, strict=True))
        for bits, measured in ratios.items()
    }
    return cast("dict[Bits, tuple[float, ...]]", noise)


def _sums_of_rows(
    x: Tensor, y: Tensor, summed: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return some sums of `summed` rows of X, and of the same of Y, with the same random signs."""
    if summed == 1:
        return x, y
    rows = len(x)
    in_one = rows // summed
    count = max(_LEAST_SUMS, _ROWS // summed)
    orders = [
        torch.randperm(rows, generator=generator)[: in_one * summed]
        for _ in range(-(-count // in_one))
    ]
    order = torch.cat(orders).view(-1, summed)[:count]
    signs = torch.randint(2, order.shape, generator=generator).mul_(2).sub_(1).to(x.dtype)
    order, signs = order.to(x.device), signs.to(x.device)
    z, w = (
        torch.nn.functional.embedding_bag(order, matrix, mode="sum", per_sample_weights=signs)
        for matrix in (x, y)
    )
    return z, w
