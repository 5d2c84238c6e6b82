"""Sums of one layer's input and output gradient, which tell the noise of its weight gradient.

X and Y are the layer's input and the gradient of its output, with B rows each. The sums are squared
Frobenius norms of weight gradients, in the square of the loss's unit.

Rounding x_proj to few bits adds noise that depends on how large the numbers of a group of features
are together, so no few sums of X have it in closed form. Of some x_proj it does have one,
Σ_k ‖w_k‖² q(z_k): z_k and w_k are the rows of SᵀX and SᵀY, and q(z) is Σ step² p (1 − p) over the
numbers of z (`rmmbench.kernels.rounding`). If each row of SᵀX adds up m rows with random signs, the
mean of ‖w‖² ‖z‖² does follow from three sums, and q(z) is nearly proportional to ‖z‖². So what is
measured, on a sample of such sums, is the ratio of the two for a few m.
"""

import bisect
import math
from collections.abc import Sequence
from typing import Final, Literal, Self

from pydantic import Field

from rmmbench.spec.ranges import Count, Square
from rmmbench.spec.strict import Strict

SUMMED_ROWS: Final = (1, 2, 3, 4, 8, 16)
"""How many rows are added up, in the sums of rows whose rounding is measured."""

BITS: Final = (8, 4, 2)
Bits = Literal["8", "4", "2"]


class LayerSums(Strict):
    """The sums of one layer.

    Attributes:
        rows: B; batch × sequence.
        samples: The samples of the batch; the rows of a sample are consecutive.
        a: ‖X‖²_F ‖Y‖²_F.
        g: ‖XᵀY‖²_F.
        d: Σ_i ‖x_i‖² ‖y_i‖² over the rows.
        g_samples: Σ_s ‖X_sᵀY_s‖²_F over the samples; X_s and Y_s are a sample's rows.
        sampled: Σ‖x_i‖ · Σ‖x_i‖‖y_i‖²; None in older records.
        in_features, out_features: Of the layer; None in older records.
        rounding: By bits the noise that rounding adds, where each of B / m rows of x_proj is the
            signed sum of m rows; for each m of SUMMED_ROWS up to B. It is exact for m = 1, and else
            estimated, to a few percent, from some of the sums.
    """

    rows: Count
    samples: Count
    a: Square
    g: Square
    d: Square
    g_samples: Square
    sampled: Square | None = None
    in_features: Count | None = None
    out_features: Count | None = None
    rounding: dict[Bits, tuple[Square, ...]] = Field(default_factory=dict)

    @property
    def sgd_by_rows(self) -> float:
        """D²_SGD as in the paper, with each row a sample: (B·d − g)/(B − 1) [eq. 9]."""
        return variance_of_sum(self.rows, self.d, self.g)

    @property
    def sgd_by_samples(self) -> float:
        """D²_SGD by eq. 9 over whole samples, whose rows depend on one another."""
        return variance_of_sum(self.samples, self.g_samples, self.g)

    def for_samples(self, samples: int) -> Self:
        """Return what these sums would be with another number of samples like these.

        Samples are drawn alone, and the loss is their mean: Y goes by 1/n, so that a and `sampled`
        stay, d and `g_samples` go by 1/n, and g is the gradient of all samples there are, which
        stays, and the noise of these, which goes by 1/n.

        Raises:
            ValueError: If there is one sample only, which does not tell one from the other.
        """
        if self.samples < 2:
            raise ValueError("sums of one sample do not tell how they change with more")
        share, own = self.samples / samples, self.sgd_by_samples
        rows = max(1, round(self.rows / share))
        g, d = max(0.0, self.g - own) + own * share, self.d * share
        rounding = {
            bits: tuple(
                noise
                / (self._product(m) or 1.0)
                * product_of_sums(min(m, rows), rows, self.a, g, d)
                for m, noise in zip(SUMMED_ROWS, measured, strict=False)
            )
            for bits, measured in self.rounding.items()
        }
        changed = {"rows": rows, "samples": samples, "g": g, "d": d, "rounding": rounding}
        return self.model_copy(update=changed | {"g_samples": self.g_samples * share})

    def rounding_noise(self, bits: int, summed: int) -> float:
        """Return the noise of rounding x_proj, if each of its rows is the sum of `summed` rows.

        Between the measured sizes the ratio to `product_of_sums` is interpolated in log m; beyond
        them it stays.

        Raises:
            ValueError: If rounding to so many bits was not measured.
        """
        try:
            measured = self.rounding[str(bits)]  # type: ignore[index]
        except KeyError:
            known = ", ".join(self.rounding) or "none"
            raise ValueError(f"rounding to {bits} bits was not measured, only: {known}") from None
        ratios = [
            noise / (self._product(m) or 1.0)
            for m, noise in zip(SUMMED_ROWS, measured, strict=False)
        ]
        return _interpolated(ratios, summed) * self._product(summed)

    def _product(self, summed: int) -> float:
        return product_of_sums(summed, self.rows, self.a, self.g, self.d)


def product_of_sums(summed: int, rows: int, a: float, g: float, d: float) -> float:
    """Return B/m · E‖z‖²‖w‖²; z and w are the same m rows of X and Y, added up with random signs.

    It is d + (m − 1)/(B − 1) · (a + 2g − 3d).
    """
    if summed == 1:
        return d
    # Below 0 only by rounding.
    return max(0.0, d + (summed - 1) / (rows - 1) * (a + 2 * g - 3 * d))


def _interpolated(ratios: Sequence[float], summed: int) -> float:
    """Return the ratio at a size from those at SUMMED_ROWS, linear in its logarithm."""
    upper = bisect.bisect_left(SUMMED_ROWS[: len(ratios)], summed)
    if upper == len(ratios) or SUMMED_ROWS[upper] == summed:
        return ratios[min(upper, len(ratios) - 1)]
    below, above = SUMMED_ROWS[upper - 1], SUMMED_ROWS[upper]
    share = math.log(summed / below) / math.log(above / below)
    return ratios[upper - 1] + share * (ratios[upper] - ratios[upper - 1])


def variance_of_sum(count: int, sum_of_squares: float, square_of_sum: float) -> float:
    """Return the variance of a sum of `count` terms, estimated from the terms; 0 for one term."""
    if count < 2:
        return 0.0
    # Below 0 only by rounding.
    return max(0.0, (count * sum_of_squares - square_of_sum) / (count - 1))
