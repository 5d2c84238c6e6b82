"""Relative throughput from step times taken in turn, with a confidence interval.

Each pair of steps, exact's and the method's, gives one ratio. A machine that slows down changes
both times of a pair and not their ratio. The median of the ratios is the relative throughput. Its
interval is computed in logarithms, in which twice as fast and half as fast are equally far from 1.

With `fewest` values or more, the interval holds whatever the noise: each value is above the true
median with probability one half, so two of the sorted values bound it with a known confidence. The
ends are interpolated between two such pairs (T. P. Hettmansperger and S. J. Sheather, Confidence
intervals based on interpolated order statistics, 1986). For fewer values Student's t is used, which
assumes log-normal noise; it is too wide if a step is sometimes delayed.

The number of steps is decided once, from the first steps (C. Stein, A two-sample test whose power
is independent of the variance, 1945). Measuring until the interval is narrow would make it narrow
by chance: a 95 % interval would then hold in 87 to 92 % of cases.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

CONFIDENCE: Final = 0.95
FARTHEST: Final = 240.0
"""The largest logarithm of an end: above any measurement, and its products are still finite."""


@dataclass(frozen=True)
class Median:
    """The median of some positive values, and its confidence interval.

    Attributes:
        low, high: The ends of the interval; None if there is only one value.
        count: The number of values.
    """

    value: float
    low: float | None
    high: float | None
    count: int

    @property
    def spread(self) -> float | None:
        """Half of the interval's width in logarithms, about a fraction of the value if narrow."""
        if self.low is None or self.high is None:
            return None
        return (math.log(self.high) - math.log(self.low)) / 2


def relative_throughput(
    reference_seconds: Sequence[float], seconds: Sequence[float], confidence: float = CONFIDENCE
) -> Median | None:
    """Return the median over pairs of exact's time ÷ the method's; None if exact has no times.

    Args:
        reference_seconds: Times of exact's steps.
        seconds: Times of the method's steps, as many and in the same order.
        confidence: The confidence of the interval.
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
    """Return whether there are enough values for the target.

    The first half of the minimum decides how many are enough, and later values do not change that.

    Args:
        values: The values so far, positive.
        target: The standard error of their median to reach, as a fraction of it, above 0.
        min_count: The minimum number of values; `fewest` if that is more.
    """
    least = max(min_count, fewest())
    return len(values) >= least and len(values) >= _needed(values[: least // 2], target)


@cache
def fewest(confidence: float = CONFIDENCE) -> int:
    """Return the smallest number of values whose extremes bound the median: 6 for 95 %."""
    return math.ceil(1 - math.log2(1 - confidence))


def _end(logarithm: float) -> float:
    return math.exp(max(-FARTHEST, min(logarithm, FARTHEST)))


def _needed(pilot: Sequence[float], target: float) -> float:
    """Return the necessary number of values: for normal noise the error is σ √(π / 2n)."""
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
    """Return the depth of the interval's ends, and the fraction of the way to the next depth.

    The values at `depth`, counted from 1 at either end, miss the median with probability
    2 P(Bin(count, ½) < depth). The confidence lies between two depths, and Hettmansperger and
    Sheather interpolate between them.
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
