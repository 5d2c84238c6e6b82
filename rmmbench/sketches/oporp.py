"""OPORP permutes the rows and adds up equal bins with random signs, in one pass over X.

Its variance is that of the best transform.

Li, Li (2023): OPORP: One Permutation + One Random Projection. arXiv 2302.03505.
"""

import torch
from torch import Tensor

from rmmbench.kernels.permutation import permutation
from rmmbench.sketches._binned import Binned
from rmmbench.sketches.sketch import Moments


class OPORP(Binned):
    """Each row goes into one of B_proj bins with a random sign; sizes differ by at most one."""

    def _bins(
        self, rows: int, proj_dim: int, seed: Tensor | torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if rows % proj_dim == 0:
            starts = torch.arange(0, rows, rows // proj_dim, device=seed.device, dtype=torch.int32)
        else:
            # Places × rows may exceed int32.
            places = torch.arange(0, proj_dim * rows, rows, device=seed.device)
            starts = places.floor_divide_(proj_dim).int()
        return permutation(seed, rows), starts

    def _bin_sizes(self, rows: int, proj_dim: int) -> dict[int, float]:
        size, larger = divmod(rows, proj_dim)
        in_larger = larger * (size + 1) / rows
        return {size: 1 - in_larger, size + 1: in_larger} if larger else {size: 1.0}

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return P Σ m (m − 1) / (B (B − 1)) over the bins' sizes m.

        For equal bins that is P (1 − ρ) / (ρ (B − 1)).
        """
        size, larger = divmod(rows, proj_dim)
        pairs = (proj_dim - larger) * size * (size - 1) + larger * (size + 1) * size
        return moments.signed * pairs / (rows * (rows - 1)) if rows > 1 else 0.0
