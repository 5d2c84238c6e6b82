"""The noise of one layer's weight gradient: SGD's own, and that which a sketch adds.

X, Y and B are as in `rmmbench.results.layer_sums`; k is proj_dim.
Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets (2022), arXiv 2201.13195, sections 2.2
and 2.3; their eq. 11 leaves out terms, and their eq. 12 does not always hold.
"""

from rmmbench.results.layer_sums import LayerSums
from rmmbench.spec.ranges import Count, Finite, Line, Name, Rho, Square, Whole
from rmmbench.spec.strict import Strict

# Relative, of sums of float32 products.
_ROUNDING = 1e-6


class LayerNoise(LayerSums):
    """The sums of one layer at one training step, and the noise computed from them.

    Attributes:
        step: The optimizer step, from 1.
        layer: The layer's qualified name.
        proj_dim: k in `variances` and in the paper's formulas.
        bits: Of a number of x_proj; None where it is not rounded.
        variances: D²_RMM by sketch, in closed form, with what rounding adds; for the layer's own
            sketch in its blocks, if any. A sketch along batch and sequence is left out: its closed
            form takes B² work. With principal features it is the noise of what they leave.
        trained_with: The sketch of the layer; None if it is exact.
        principal: Features whose part of the gradient was exact; None for none. `a`, `d` and the
            other sums are of all of X.
    """

    step: Whole
    layer: Line
    proj_dim: Count
    variances: dict[Name, Finite]
    trained_with: Name | None = None
    bits: Count | None = None
    principal: Count | None = None

    @property
    def papers_variance(self) -> float:
        """(a − g)/k [eq. 11]; a Gaussian sketch has (a + g)/k."""
        return (self.a - self.g) / self.proj_dim

    @property
    def alpha(self) -> float:
        """g/a, in [0, 1] [eq. 13]; 0 if a is 0."""
        return self.g / self.a if self.a else 0.0

    @property
    def ratio(self) -> float | None:
        """The left side of eq. 12, k/(B − 1) · D²_RMM/D²_SGD, by eq. 9 and 11; None for 0 noise."""
        noise = (self.rows - 1) * self.sgd_by_rows
        return (self.a - self.g) / noise if noise > 0 else None

    @property
    def bound(self) -> float | None:
        """The right side of eq. 12, (α + 1)/α; None, for no bound, if α is 0."""
        return (self.alpha + 1) / self.alpha if self.alpha else None

    @property
    def holds(self) -> bool:
        """Whether eq. 12 holds; multiplied out, so that 0 on both sides holds."""
        if self.bound is None:
            return True
        right = self.bound * (self.rows - 1) * self.sgd_by_rows
        return self.a - self.g <= right + _ROUNDING * self.a

    def inflation(self, sketch: str) -> float | None:
        """Return 1 + D²_RMM/D²_SGD by samples: how much noisier a sketch makes the gradient.

        None if D²_SGD is 0.
        """
        noise = self.sgd_by_samples
        return 1 + self.variances[sketch] / noise if noise > 0 else None

    def effective_batch_size(self, sketch: str) -> float | None:
        """Return the batch size whose exact gradient is as noisy as this sketched one."""
        inflation = self.inflation(sketch)
        return None if inflation is None else self.samples / inflation


class DrawnNoise(Strict):
    """A sketch's error at one point of training, from its closed form and from draws.

    Attributes:
        step: The optimizer step.
        layer: The layer's qualified name.
        sketch: A registered name.
        rho: Compression rate.
        proj_dim: Columns of S.
        bits: Of a number of x_proj, which is rounded in every draw; None where it is not.
        predicted: E‖XᵀS SᵀY − XᵀY‖²_F in closed form, with what rounding adds.
        measured: The mean of the squared error over the draws.
        standard_error: The standard error of `measured`.
        draws: The number of draws of S, and of the rounding.
        exact: ‖XᵀY‖²_F, for comparison.
    """

    step: Whole
    layer: Line
    sketch: Name
    rho: Rho
    proj_dim: Count
    predicted: Finite
    measured: Square
    standard_error: Square
    draws: Count
    exact: Square
    bits: Count | None = None
