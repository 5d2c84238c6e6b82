"""CountSketch: each row goes into a random bin with a random sign; one pass over X.

Charikar, Chen, Farach-Colton (2002): Finding frequent items in data streams. Clarkson, Woodruff
(2013): Low rank approximation and regression in input sparsity time. arXiv 1207.6365.
"""

import torch
from torch import Tensor

from rmmbench.kernels import philox
from rmmbench.sketches._binned import Binned
from rmmbench.sketches.sketch import Moments

# What is left out of a distribution at either end.
_TAIL = 1e-6


class CountSketch(Binned):
    """Each row's bin is independent, so some bins hold many rows and some none."""

    def _bins(
        self, rows: int, proj_dim: int, seed: Tensor | torch.Generator
    ) -> tuple[Tensor, Tensor]:
        ordered, order = philox.below(seed, rows, proj_dim, philox.Use.BINS).sort()
        bins = torch.arange(proj_dim, device=seed.device, dtype=torch.int32)
        starts = torch.searchsorted(ordered, bins, out_int32=True)
        return order.to(torch.int32), starts

    def _bin_sizes(self, rows: int, proj_dim: int) -> dict[int, float]:
        from scipy.stats import binom

        # The other rows in a row's bin.
        others = binom(rows - 1, 1 / proj_dim)
        sizes = range(int(others.ppf(_TAIL)), int(others.isf(_TAIL)) + 1)
        return {1 + size: float(others.pmf(size)) for size in sizes}

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return P / B_proj."""
        return moments.signed / proj_dim
