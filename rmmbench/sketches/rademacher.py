"""The paper's Rademacher sketch: independent signs ±B_proj^−½."""

import torch
from torch import Tensor

from rmmbench.sketches._dense import DenseSketch
from rmmbench.sketches.sketch import Moments


class Rademacher(DenseSketch):
    """S with independent entries ±B_proj^−½."""

    def _entries(self, columns: int, x: Tensor, generator: torch.Generator) -> Tensor:
        size = (columns, x.shape[0])
        signs = torch.randint(0, 2, size, generator=generator, device=x.device, dtype=x.dtype)
        return signs.mul_(2).sub_(1)

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return (a + g − 2d) / B_proj."""
        return moments.signed / proj_dim
