"""How far a mean may be off if it is looked at repeatedly while more is measured.

n differences have a mean and a standard deviation s. Of a true mean μ, with t = √n (mean − μ) / s,
the average over `_SCALES` g of

    (1 + n g)^(−½) · [(1 + t² / (n − 1)) / (1 + t² / ((n − 1) (1 + n g)))]^(n/2)

exceeds 1/α at any n at all with a probability of α or less, whatever the deviation of the normal
noise: it is an e-process. So the means for which it is below 1/α are an interval that holds at all
looks together; the number of looks and the time to stop need not be fixed beforehand.

T. L. Lai, On confidence sequences, 1976; H. Wang and A. Ramdas, Anytime-valid t-tests and
confidence sequences for Gaussian means with unknown variance, 2023; M. F. Pérez-Ortiz et al.,
E-statistics, group invariance and anytime-valid testing, 2024.
"""

import math
from functools import cache
from typing import Final

_SCALES: Final = (0.2, 2.0)
"""Variances of the changes to find ÷ that of the noise: 5 % and 16 % if runs differ by 8 %."""


@cache
def reach(count: int, error: float) -> float:
    """Return how many standard errors the interval of `count` differences reaches to either side.

    Args:
        count: At least 2.
        error: The probability that at any look the true mean lies beyond a given end.

    Returns:
        Infinity if so few differences prove nothing at that error.
    """
    wanted = -math.log(2 * error)
    low, high = 0.0, 1e9
    if _log_evidence(high, count) < wanted:
        return math.inf
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _log_evidence(middle, count) < wanted else (low, middle)
    return high


def _log_evidence(t: float, count: int) -> float:
    """Return the logarithm of the average above."""
    terms = [_log_term(t, count, 1 + count * scale) for scale in _SCALES]
    most = max(terms)
    return most + math.log(sum(math.exp(term - most) for term in terms) / len(terms))


def _log_term(t: float, count: int, factor: float) -> float:
    square = t * t / (count - 1)
    gain = math.log1p(square) - math.log1p(square / factor)
    return (count * gain - math.log(factor)) / 2
