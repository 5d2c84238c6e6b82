"""The noise of one layer's weight gradient: what SGD has of its own, and what a sketch adds.

Write X and Y for the layer's input and the gradient of its output, B rows each, and k for proj_dim.
Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets (2022), arXiv 2201.13195, sections 2.2
and 2.3; their eq. 11 leaves out terms, and their eq. 12 does not always hold.
"""

from rmmbench.spec.ranges import Count, Finite, Line, Name, Rho, Square, Whole
from rmmbench.spec.strict import Strict

# Of sums of float32 products.
_ROUNDING = 1e-6


class LayerNoise(Strict):
    """The sums of one layer at one step of training, and what follows from them.

    Squared Frobenius norms of weight gradients, in the loss's units squared.

    Attributes:
        step: The optimizer step, from 1.
        layer: Qualified name.
        rows: B; batch × sequence.
        samples: Of the batch; rows of one sample stand together.
        proj_dim: k of `variances` and of the paper's forms.
        a: ‖X‖²_F ‖Y‖²_F.
        g: ‖XᵀY‖²_F.
        d: Σ_i ‖x_i‖² ‖y_i‖² over the rows.
        g_samples: Σ_s ‖X_sᵀY_s‖²_F over the samples, each with its rows.
        variances: D²_RMM by sketch, in closed form; the layer's own in its blocks, if it has any. A
            sketch along batch and sequence is left out, whose form takes B² work.
        trained_with: The sketch that the layer itself used; None if it was exact.
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
        """D²_SGD as the paper has it, each row a sample: (B·d − g)/(B − 1) [eq. 9]."""
        return variance_of_sum(self.rows, self.d, self.g)

    @property
    def sgd_by_samples(self) -> float:
        """D²_SGD of whole samples, whose rows depend on one another; eq. 9 over samples."""
        return variance_of_sum(self.samples, self.g_samples, self.g)

    @property
    def papers_variance(self) -> float:
        """(a − g)/k [eq. 11]; a Gaussian sketch has (a + g)/k."""
        return (self.a - self.g) / self.proj_dim

    @property
    def alpha(self) -> float:
        """g/a, in [0, 1] [eq. 13]; 0 where a is."""
        return self.g / self.a if self.a else 0.0

    @property
    def ratio(self) -> float | None:
        """The left side of eq. 12, k/(B − 1) · D²_RMM/D²_SGD, by eq. 9 and 11; None over 0."""
        noise = (self.rows - 1) * self.sgd_by_rows
        return (self.a - self.g) / noise if noise > 0 else None

    @property
    def bound(self) -> float | None:
        """The right side of eq. 12, (α + 1)/α; None where α is 0 and there is no bound."""
        return (self.alpha + 1) / self.alpha if self.alpha else None

    @property
    def holds(self) -> bool:
        """Whether eq. 12 held, multiplied out so that 0 on both sides holds."""
        if self.bound is None:
            return True
        right = self.bound * (self.rows - 1) * self.sgd_by_rows
        return self.a - self.g <= right + _ROUNDING * self.a

    def inflation(self, sketch: str) -> float | None:
        """Return 1 + D²_RMM/D²_SGD by samples: how much noisier the gradient is; None over 0."""
        noise = self.sgd_by_samples
        return 1 + self.variances[sketch] / noise if noise > 0 else None

    def effective_batch_size(self, sketch: str) -> float | None:
        """Return the batch whose exact gradient is as noisy as this batch's sketched one."""
        inflation = self.inflation(sketch)
        return None if inflation is None else self.samples / inflation


class DrawnNoise(Strict):
    """A sketch's error at one fixed point of training, by its closed form and by drawing S.

    Attributes:
        step: The optimizer step of the point.
        layer: Qualified name.
        sketch: A registered name.
        rho: Compression rate.
        proj_dim: Columns of S.
        predicted: E‖XᵀS SᵀY − XᵀY‖²_F in closed form.
        measured: The mean of the squared error over the draws.
        standard_error: Of `measured`.
        draws: How many S were drawn.
        exact: ‖XᵀY‖²_F, to see the error against.
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
    # Never below 0, but for rounding.
    return max(0.0, (count * sum_of_squares - square_of_sum) / (count - 1))
