"""A mean over random draws, how far it may be off, and whether it agrees with what is expected."""

import math
from typing import NamedTuple

from torch import Tensor

STANDARD_ERRORS = 4
"""How many of them a mean may be away from what is expected: by chance 1 in 16,000 is."""

# Of float64 arithmetic, relative: what is equal but for rounding is equal.
_ROUNDING = 1e-9


class Estimate(NamedTuple):
    """A mean over independent draws.

    Attributes:
        mean: Of the draws.
        standard_error: Of the mean.
        draws: How many.
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
        """Tell whether `expected`, itself known within ±slack, is within 4 standard errors."""
        allowed = STANDARD_ERRORS * self.standard_error + slack + _ROUNDING * abs(expected)
        return abs(self.mean - expected) <= allowed

    def numbers(self) -> dict[str, float]:
        """Return what is told of it in full."""
        return {"measured": self.mean, "standard_error": self.standard_error, "draws": self.draws}

    def __str__(self) -> str:
        digits = _decimals(self.standard_error or self.mean)
        return f"{self.mean:,.{digits}f} ± {self.standard_error:,.{digits}f}"


def are_equal(found: float, expected: float) -> bool:
    """Tell whether two numbers are equal but for the rounding of float64."""
    return math.isclose(found, expected, rel_tol=_ROUNDING, abs_tol=_ROUNDING)


def written(value: float) -> str:
    """Return a number with five digits and commas: "16,426", "4.25", "10,002"."""
    rounded = float(f"{value:.5g}")
    return f"{rounded:,.{min(9, _decimals(rounded) + 3)}f}".rstrip("0").rstrip(".")


def _decimals(value: float) -> int:
    """Return how many decimals show two digits of a number; 0 for 0."""
    return max(0, 1 - math.floor(math.log10(abs(value)))) if value else 0
