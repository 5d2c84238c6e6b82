"""Whether a case became slower relative to exact, told from raw step times.

Each pair of steps, exact's and the method's, gives one ratio. Each ratio lies above the true median
with probability one half, whatever their distribution; so two of them bound it with a known
confidence (H. A. David and H. N. Nagaraja, Order Statistics, 2003, section 7.1).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rmmbench.check.report import Verdict
from rmmbench.record import Timing

CONFIDENCE = 0.95
FEWEST_PAIRS = 6


@dataclass(frozen=True)
class Median:
    """The median of some values, and where the true one lies with 95 % confidence.

    Attributes:
        low, high: None where the values are too few to tell.
        count: How many values there are.
    """

    value: float
    low: float | None
    high: float | None
    count: int


def measured(timing: Timing | None) -> Median | None:
    """Return the median relative throughput of the pairs of steps; None where there is no pair."""
    if timing is None:
        return None
    pairs = zip(timing.reference_step_seconds, timing.step_seconds, strict=False)
    ratios = [reference / step for reference, step in pairs]
    return median(ratios) if ratios else None


def median(values: Sequence[float]) -> Median:
    """Return the median of at least one value, with its interval."""
    ordered = sorted(values)
    rank = _rank(len(ordered))
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (None, None)
    return Median(statistics.median(ordered), low, high, len(ordered))


def judge(baseline: Median, now: Median, tolerance: float) -> tuple[Verdict, str | None]:
    """Return the verdict, and why there is not enough evidence for one.

    A case has regressed only if the whole interval now lies below the baseline's by more than
    `tolerance`, a fraction.
    """
    if baseline.low is None or baseline.high is None or now.low is None or now.high is None:
        fewest = min(baseline.count, now.count)
        pairs = f"{fewest} pair{'' if fewest == 1 else 's'} of steps"
        reason = f"{pairs}, and an interval needs {FEWEST_PAIRS}"
        return Verdict.NOT_ENOUGH_EVIDENCE, reason
    if now.high < baseline.low * (1 - tolerance):
        return Verdict.REGRESSED, None
    if now.low > baseline.high * (1 + tolerance):
        return Verdict.IMPROVED, None
    if now.value < baseline.value * (1 - tolerance):
        return Verdict.NOT_ENOUGH_EVIDENCE, f"within the noise of {now.count} pairs of steps"
    return Verdict.SAME, None


def _rank(count: int) -> int:
    """Return how far from either end of `count` sorted values the interval stops; 0 if nowhere."""
    rank, outside = 0, 0.0
    while 2 * (outside := outside + math.comb(count, rank) / 2**count) <= 1 - CONFIDENCE:
        rank += 1
    return rank
