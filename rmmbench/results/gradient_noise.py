"""The noise of one layer's weight gradient: SGD's own, and that which a sketch adds.

X and Y are the layer's input and the gradient of its output, with B rows each; k is proj_dim.
Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets (2022), arXiv 2201.13195, sections 2.2
and 2.3; their eq. 11 leaves out terms, and their eq. 12 does not always hold.
"""

from rmmbench.spec.ranges import Count, Finite, Line, Name, Rho, Square, Whole
from rmmbench.spec.strict import Strict

# Relative, of sums of float32 products.
_ROUNDING = 1e-6


class LayerNoise(Strict):
    """The sums of one layer at one training step, and the noise computed from them.

    They are squared Frobenius norms of weight gradients, in the square of the loss's unit.

    Attributes:
        step: The optimizer step, from 1.
        layer: The layer's qualified name.
        rows: B; batch × sequence.
        samples: The samples of the batch; the rows of a sample are consecutive.
        proj_dim: k in `variances` and in the paper's formulas.
        a: ‖X‖²_F ‖Y‖²_F.
        g: ‖XᵀY‖²_F.
        d: Σ_i ‖x_i‖² ‖y_i‖² over the rows.
        g_samples: Σ_s ‖X_sᵀY_s‖²_F over the samples; X_s and Y_s are a sample's rows.
        variances: D²_RMM by sketch, in closed form; for the layer's own sketch in its blocks, if
            any. A sketch along batch and sequence is left out: its closed form takes B² work.
        trained_with: The sketch of the layer; None if it is exact.
    """

    step: Whole
    layer: Line
    rows: Count
    samples: Count
    proj_dim: Count
    a: Square
    g: Square
    d: Square
    g_samples: Square
    variances: dict[Name, Finite]
    trained_with: Name | None = None

    @property
    def sgd_by_rows(self) -> float:
        """D²_SGD as in the paper, with each row a sample: (B·d − g)/(B − 1) [eq. 9]."""
        return variance_of_sum(self.rows, self.d, self.g)

    @property
    def sgd_by_samples(self) -> float:
        """D²_SGD by eq. 9 over whole samples, whose rows depend on one another."""
        return variance_of_sum(self.samples, self.g_samples, self.g)

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
    """A sketch's error at one point of training, from its closed form and from draws of S.

    Attributes:
        step: The optimizer step.
        layer: The layer's qualified name.
        sketch: A registered name.
        rho: Compression rate.
        proj_dim: Columns of S.
        predicted: E‖XᵀS SᵀY − XᵀY‖²_F in closed form.
        measured: The mean of the squared error over the draws.
        standard_error: The standard error of `measured`.
        draws: The number of draws of S.
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


def variance_of_sum(count: int, sum_of_squares: float, square_of_sum: float) -> float:
    """Return the variance of a sum of `count` terms, estimated from the terms; 0 for one term."""
    if count < 2:
        return 0.0
    # Below 0 only by rounding.
    return max(0.0, (count * sum_of_squares - square_of_sum) / (count - 1))
