"""A mean over random draws, its standard error, and whether it agrees with an expected value."""

import math
from typing import NamedTuple

from torch import Tensor

STANDARD_ERRORS = 4
"""How far a mean may be from its expected value; by chance 1 in 16,000 is farther."""

# Relative, of float64 arithmetic: numbers that differ by less are equal.
_ROUNDING = 1e-9


class Estimate(NamedTuple):
    """A mean over independent draws.

    Attributes:
        standard_error: The standard error of `mean`.
        draws: The number of draws.
    """

    mean: float
    standard_error: float
    draws: int

    @classmethod
    def of(cls, values: Tensor) -> "Estimate":
        """Return the mean of a vector of independent draws."""
        draws = len(values)
        return cls(values.mean().item(), values.std().item() / math.sqrt(draws), draws)

    def agrees(self, expected: float, slack: float = 0.0) -> bool:
        """Return whether `expected`, itself known to ±slack, is within 4 standard errors."""
        allowed = STANDARD_ERRORS * self.standard_error + slack + _ROUNDING * abs(expected)
        return abs(self.mean - expected) <= allowed

    def numbers(self) -> dict[str, float]:
        """Return the fields as a finding reports them."""
        return {"measured": self.mean, "standard_error": self.standard_error, "draws": self.draws}

    def __str__(self) -> str:
        digits = _decimals(self.standard_error or self.mean)
        return f"{self.mean:,.{digits}f} ± {self.standard_error:,.{digits}f}"


def are_equal(found: float, expected: float) -> bool:
    """Return whether two numbers are equal up to the rounding of float64."""
    return math.isclose(found, expected, rel_tol=_ROUNDING, abs_tol=_ROUNDING)


def written(value: float) -> str:
    """Return a number with five digits and commas: "16,426", "4.25", "10,002"."""
    rounded = float(f"{value:.5g}")
    return f"{rounded:,.{min(9, _decimals(rounded) + 3)}f}".rstrip("0").rstrip(".")


def _decimals(value: float) -> int:
    """Return how many decimals show two significant digits of a number; 0 for 0."""
    return max(0, 1 - math.floor(math.log10(abs(value)))) if value else 0
