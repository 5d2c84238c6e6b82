"""Relative throughput from step times taken in turn, and where the true one lies.

Each pair of steps, exact's and the method's, gives one ratio, and a machine that slows down changes
both times of a pair and no ratio. The median of the ratios is the relative throughput. Its interval
is reckoned in logarithms, in which twice as fast and half as fast are equally far from 1.

From `fewest` values on an interval holds whatever the noise: each value lies above the true median
with probability one half, so two of the sorted values bound it with a known confidence, and between
the last two such pairs one interpolates (T. P. Hettmansperger and S. J. Sheather, Confidence
intervals based on interpolated order statistics, 1986). Fewer values bound nothing by themselves,
and Student's t takes the noise to be log-normal; where steps are now and then delayed it is too
wide.

How many steps are enough is told once, from the first of them (C. Stein, A two-sample test whose
power is independent of the variance, 1945). Steps taken until the interval is narrow would make it
narrow by chance: it would hold in 87 to 92 % where it says 95 %.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

CONFIDENCE: Final = 0.95
FARTHEST: Final = 240.0
"""The largest logarithm of an end: beyond what is measured, and its products are still finite."""


@dataclass(frozen=True)
class Median:
    """The median of some positive values, and the interval in which the true one lies.

    Attributes:
        low, high: None where one value is all there is.
        count: How many values there are.
    """

    value: float
    low: float | None
    high: float | None
    count: int

    @property
    def spread(self) -> float | None:
        """Half the interval's width, in logarithms: of a narrow one the fraction of the value."""
        if self.low is None or self.high is None:
            return None
        return (math.log(self.high) - math.log(self.low)) / 2


def relative_throughput(
    reference_seconds: Sequence[float], seconds: Sequence[float], confidence: float = CONFIDENCE
) -> Median | None:
    """Return the median of exact's times ÷ the method's, pair by pair; None where exact has none.

    Args:
        reference_seconds: Exact's steps.
        seconds: The method's, as many and in the same order.
        confidence: Of the interval.
    """
    if not reference_seconds:
        return None
    pairs = zip(reference_seconds, seconds, strict=True)
    return median([reference / step for reference, step in pairs], confidence)


def median(values: Sequence[float], confidence: float = CONFIDENCE) -> Median:
    """Return the median of at least one positive value, with its interval."""
    count, ordered = len(values), sorted(values)
    middle = statistics.median(ordered)
    if count == 1:
        return Median(middle, None, None, 1)
    if count < fewest(confidence):
        mean, deviation = _moments([math.log(value) for value in ordered])
        reach = _student(count - 1, confidence) * deviation / math.sqrt(count)
        return Median(middle, _end(mean - reach), _end(mean + reach), count)
    depth, inward = _depth(count, confidence)
    lowest, next_low, next_high, highest = (
        math.log(ordered[place]) for place in (depth - 1, depth, -depth - 1, -depth)
    )
    low = lowest + inward * (next_low - lowest)
    high = highest - inward * (highest - next_high)
    return Median(middle, _end(low), _end(high), count)


def is_enough(values: Sequence[float], target: float, min_count: int) -> bool:
    """Return whether as many values are there as it takes for the target.

    How many that is the first half of the fewest tells, and no later value is asked.

    Args:
        values: Those taken so far, positive.
        target: The standard error of their median to reach, as a fraction of it, above 0.
        min_count: The fewest in any case; with less than `fewest` nothing can be told.
    """
    least = max(min_count, fewest())
    return len(values) >= least and len(values) >= _needed(values[: least // 2], target)


@cache
def fewest(confidence: float = CONFIDENCE) -> int:
    """Return how many values bound their median by themselves: 6 for 95 %."""
    return math.ceil(1 - math.log2(1 - confidence))


def _end(logarithm: float) -> float:
    return math.exp(max(-FARTHEST, min(logarithm, FARTHEST)))


def _needed(pilot: Sequence[float], target: float) -> float:
    """Return how many values it takes: the error is σ √(π / 2n) of normal noise."""
    _, deviation = _moments([math.log(value) for value in pilot])
    ratio = deviation / target
    return math.pi / 2 * ratio * ratio


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation of two or more values."""
    mean = statistics.fmean(values)
    return mean, math.dist(values, [mean] * len(values)) / math.sqrt(len(values) - 1)


@cache
def _student(freedom: int, confidence: float) -> float:
    from scipy.special import stdtrit  # only a handful of steps needs it

    return float(stdtrit(freedom, (1 + confidence) / 2))


@cache
def _depth(count: int, confidence: float) -> tuple[int, float]:
    """Return which of sorted values ends the interval, from 1, and how far on to the next inward.

    The pair at `depth` from either end misses the median with probability 2 P(Bin(count, ½) <
    depth). Of the two depths about the confidence the inner one holds too seldom; the interpolation
    between them is Hettmansperger's and Sheather's.
    """
    allowed = 1 - confidence
    depth, ways, outside = 0, 1, 0.0  # ways: how many of 2^count draws leave `depth` values below
    while True:
        share = 2 * ways / 2**count
        if outside + share > allowed:
            break
        outside += share
        ways = ways * (count - depth) // (depth + 1)
        depth += 1
    part = (allowed - outside) / share
    return depth, (count - depth) * part / (depth + (count - 2 * depth) * part)
