"""Rows of X drawn in proportion to their norms, which the forward pass knows.

Column-row sampling [Drineas, Kannan, Mahoney 2006, Fast Monte Carlo algorithms for matrices I] with
the norms of X alone, since those of Y are not known yet. S depends on X, so its key holds the
numbers of the rows that were drawn and their scales.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rmmbench.kernels import philox
from rmmbench.sketches._picked import scaled_rows
from rmmbench.sketches.sketch import Moments, Sketch


class NormRows(Sketch):
    """B_proj rows with replacement: row i with p_i = ‖x_i‖ / Σ‖x‖ and scale (B_proj p_i)^−½."""

    def draw(self, x: Tensor, proj_dim: int, seed: Tensor) -> Tensor:
        """Return the drawn rows' numbers and their scales, float64, shape (2, proj_dim)."""
        if seed.dim():
            return seed
        low = x.dtype not in (torch.float32, torch.float64)
        norms = torch.linalg.vector_norm(x, dim=1, dtype=torch.float32 if low else None).double()
        # If all rows are 0, any will do.
        norms = norms + (norms.sum() == 0)
        ends = norms.cumsum(0)
        # float32 has fewer such numbers than a large batch has rows.
        uniforms = (philox.stream(seed, proj_dim, philox.Use.BINS).double() + 0.5) / 2**32
        picked = torch.searchsorted(ends, uniforms * ends[-1]).clamp_(max=x.shape[0] - 1)
        scales = (norms[picked] * (proj_dim / ends[-1])).rsqrt_()
        return torch.stack([picked.double(), scales])

    def new_key(self, x: Tensor, proj_dim: int) -> Tensor:
        """Return a tensor with the shape and type of a key."""
        return x.new_empty(2, proj_dim, dtype=torch.float64)

    def _project(self, x: Tensor, proj_dim: int, key: Tensor) -> Tensor:
        picked, scales = key
        precise = torch.promote_types(x.dtype, torch.float32)
        return scaled_rows(x, picked.int(), scales.to(precise).unsqueeze(1))

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return (Σ‖x_i‖ · Σ‖x_i‖‖y_i‖² − g) / B_proj."""
        # Below 0 only by rounding.
        return max(0.0, moments.sampled - moments.g) / proj_dim

    def rounding(
        self, noise: Callable[[int], float], moments: Moments, rows: int, proj_dim: int
    ) -> float:
        """Return Σ‖x_i‖ · Σ‖x_i‖‖y_i‖² / (B_proj d) times that of rounding all rows; it is near."""
        return moments.sampled / (proj_dim * (moments.d or 1.0)) * noise(1)

    def flops(self, rows: int, features: int, proj_dim: int) -> int:
        """Return 2·B·N for the norms and B_proj·N for the scaling."""
        return 2 * rows * features + proj_dim * features
