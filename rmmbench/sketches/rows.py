"""Rows of X drawn uniformly without replacement: the cheapest sketch.

Its error is (1 − ρ)/ρ times the noise of the batch's own gradient (the paper's eq. 9). Nothing is
left of a row that is not drawn, not even that it was infinite or NaN.
"""

from collections.abc import Callable

from torch import Tensor

from rmmbench.kernels.permutation import permutation
from rmmbench.results.layer_sums import variance_of_sum
from rmmbench.sketches._picked import scaled_rows
from rmmbench.sketches.sketch import Moments, Sketch


class Rows(Sketch):
    """B_proj rows of X, scaled by (B / B_proj)^½."""

    def _project(self, x: Tensor, proj_dim: int, key: Tensor) -> Tensor:
        rows = x.shape[0]
        picked = permutation(key, rows)[:proj_dim]
        return scaled_rows(x, picked, (rows / proj_dim) ** 0.5)

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return (1 − ρ)/ρ · (B·d − g)/(B − 1)."""
        return (rows - proj_dim) / proj_dim * variance_of_sum(rows, moments.d, moments.g)

    def rounding(
        self, noise: Callable[[int], float], moments: Moments, rows: int, proj_dim: int
    ) -> float:
        """Return B/B_proj times the noise of rounding all rows."""
        return rows / proj_dim * noise(1)

    def flops(self, rows: int, features: int, proj_dim: int) -> int:
        """Return B_proj·N for the scaling."""
        return proj_dim * features
