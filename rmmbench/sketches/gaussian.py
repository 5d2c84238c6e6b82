"""The paper's Gaussian sketch: independent normal entries of standard deviation B_proj^−½.

Its variance is (a + g) / B_proj. Eq. 11 of the paper has (a − g) / B_proj, which leaves out the
cross terms and the fourth moment.
"""

import torch
from torch import Tensor

from rmmbench.sketches._dense import DenseSketch
from rmmbench.sketches.sketch import Moments


class Gaussian(DenseSketch):
    """S with independent entries N(0, 1 / B_proj)."""

    def _entries(self, columns: int, x: Tensor, generator: torch.Generator) -> Tensor:
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        size = (columns, x.shape[0])
        return torch.randn(size, generator=generator, device=x.device, dtype=dtype)

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return (a + g) / B_proj."""
        return (moments.a + moments.g) / proj_dim
