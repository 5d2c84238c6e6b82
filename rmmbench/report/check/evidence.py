"""What measurements prove about a change in throughput.

Changes are logarithms, so that twice as fast and half as fast are equally far from no change. The
noise that counts is between whole runs of one code: several times the noise between steps of a run.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rmmbench.report.check.report import Verdict
from rmmbench.report.check.sequential import reach

ALARMS: Final = 0.01
"""How often a check of one code against itself may fail, over all of its cases together."""
MISSES: Final = 0.05
"""How often a case that became slower by the whole tolerance may be called the same."""
FOUND: Final = 0.85
"""How often a fall of the size that `detectable` returns is found."""
ASSUMED_SPREAD: Final = 0.06
"""The assumed difference between runs of one code if it is unknown: the largest ever seen."""

_LEAST_ERROR: Final = 1e-9


@dataclass(frozen=True)
class Evidence:
    """A measured change of throughput and its error, in logarithms; below 0 is slower.

    Attributes:
        change: The measured change.
        alarm: The true change is within this distance, except in `ALARMS` of all checks.
        miss: The true change is within this distance, except in `MISSES` of all cases.
        floor: A change counts only if it is surely larger than this.
    """

    change: float
    alarm: float
    miss: float
    floor: float = 0.0

    @property
    def excluded_fall(self) -> float:
        """The smallest fall, as a fraction, that this evidence excludes."""
        return -math.expm1(min(0.0, self.change - self.miss))

    def verdict(self, tolerance: float) -> Verdict:
        """Return what the evidence proves.

        A case has regressed if it is surely slower, and perhaps by more than the tolerance. It is
        the same if it is surely not slower by that much.
        """
        limit = math.log1p(-tolerance)
        if self.change - self.miss > limit:
            is_faster = self.change - self.alarm > self.floor
            is_beyond = self.change + self.miss > -limit
            return Verdict.IMPROVED if is_faster and is_beyond else Verdict.SAME
        if self.change + self.alarm < -self.floor:
            return Verdict.REGRESSED
        return Verdict.NOT_ENOUGH_EVIDENCE


def in_turn(differences: Sequence[float], cases: int, tolerance: float) -> Evidence | None:
    """Return the evidence of pairs of runs, at the first look that decides or else the last.

    There is a look after every second pair. Of two pairs, the baseline ran first in one and last in
    the other, so that a machine that slows down favours neither.

    Args:
        differences: Logarithms of the candidate's throughput ÷ the baseline's, one per pair.
        cases: How many are judged, each of which might raise an alarm.
        tolerance: The fall to find, as a fraction.

    Returns:
        None if there are fewer than two pairs.
    """
    found = None
    for count in range(2, len(differences) + 1, 2):
        seen = differences[:count]
        # Above 0: two differences prove nothing, however equal they are.
        error = max(spread(seen) / math.sqrt(count), _LEAST_ERROR)
        far = [reach(count, share) * error for share in (ALARMS / cases, MISSES)]
        found = Evidence(statistics.fmean(seen), *far)
        if found.verdict(tolerance) is not Verdict.NOT_ENOUGH_EVIDENCE:
            break
    return found


def fewest_pairs(cases: int) -> int:
    """Return how many pairs of runs it takes to prove any fall when so many cases are judged."""
    return next(n for n in itertools.count(2, 2) if math.isfinite(reach(n, ALARMS / cases)))


def between(
    before: Sequence[float], now: Sequence[float], step_error: float, cases: int
) -> Evidence:
    """Return the evidence of calibrated runs, by Student's t of two samples.

    Args:
        before: Logarithms of the baseline's throughput, one per run.
        now: Logarithms of the throughput now; at least three runs together with `before`.
        step_error: The standard error of one run, from its own steps. It may be twice too large,
            so half of it is a lower bound of the spread between runs.
        cases: How many are judged.
    """
    from scipy.special import stdtrit  # most checks need no quantile

    freedom = len(before) + len(now) - 2
    deviation = max(spread(before, now), step_error / 2, _LEAST_ERROR)
    error = deviation * math.sqrt(1 / len(before) + 1 / len(now))
    alarm, miss = (float(stdtrit(freedom, 1 - p)) * error for p in (ALARMS / cases, MISSES))
    return Evidence(statistics.fmean(now) - statistics.fmean(before), alarm, miss)


def detectable(before: Sequence[float], cases: int) -> float:
    """Return the fall, as a fraction, that a check of one run finds with probability `FOUND`.

    Args:
        before: Logarithms of the baseline's throughput, one per run; two or more.
        cases: How many are judged.
    """
    from scipy.special import stdtrit

    freedom = len(before) - 1
    quantiles = sum(float(stdtrit(freedom, p)) for p in (1 - ALARMS / cases, FOUND))
    return -math.expm1(-quantiles * spread(before) * math.sqrt(1 + 1 / len(before)))


def spread(*samples: Sequence[float]) -> float:
    """Return the standard deviation within samples, of which one at least has two values."""
    lengths = [math.dist(one, [statistics.fmean(one)] * len(one)) for one in samples]
    return math.hypot(*lengths) / math.sqrt(sum(map(len, samples)) - len(samples))


def beyond_doubt(
    change: float, step_errors: Sequence[float], cases: int, tolerance: float
) -> Evidence:
    """Return the evidence of two runs when the spread between runs of one code is unknown.

    Args:
        change: Logarithm of throughput now ÷ the baseline's.
        step_errors: The standard error of each side, from its steps.
        cases: How many are judged.
        tolerance: A fall must surely be larger than this, too.
    """
    error = math.hypot(ASSUMED_SPREAD, ASSUMED_SPREAD, *step_errors)
    normal = statistics.NormalDist()
    alarm, miss = (normal.inv_cdf(1 - share) * error for share in (ALARMS / cases, MISSES))
    return Evidence(change, alarm, miss, floor=-math.log1p(-tolerance))
