"""What is known of a change in throughput, and what it proves.

Changes are logarithms: twice as fast and half as fast are equally far from no change. What counts
is how much whole runs of one code differ from each other, which is several times what the steps
within one run tell.
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
"""How often a case may be called the same that became slower by the whole tolerance."""
FOUND: Final = 0.85
"""How often a fall is found that is called one that can be."""
ASSUMED_SPREAD: Final = 0.06
"""What runs of one code are taken to differ by where it is not known: the most that was seen."""

_LEAST_ERROR: Final = 1e-9


@dataclass(frozen=True)
class Evidence:
    """A change of throughput and how far it may be off, in logarithms; below 0 is slower.

    Attributes:
        change: What was measured.
        alarm: The true change is no further from it, but for `ALARMS` of all checks.
        miss: The true change is no further from it, but for `MISSES` of all cases.
        floor: A change must surely be beyond this to be one.
    """

    change: float
    alarm: float
    miss: float
    floor: float = 0.0

    @property
    def excluded_fall(self) -> float:
        """The fall, as a fraction, that throughput has surely not made; no smaller one is seen."""
        return -math.expm1(min(0.0, self.change - self.miss))

    def verdict(self, tolerance: float) -> Verdict:
        """Return what it proves.

        What is surely slower, and perhaps by more than the tolerance, has regressed. What is surely
        not slower by as much is the same.
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
    """Return what pairs of runs tell at the first look that decides, or at the last one.

    A look is due after every second pair: of two, the baseline ran first in one and last in the
    other, so that a machine that slows down favours neither.

    Args:
        differences: Logarithms of the candidate's throughput ÷ the baseline's, pair by pair.
        cases: How many are judged, each of which might raise an alarm.
        tolerance: The fall to find, as a fraction.

    Returns:
        None where there were less than two pairs.
    """
    found = None
    for count in range(2, len(differences) + 1, 2):
        seen = differences[:count]
        # Above 0, as what two differences can tell is nothing however equal they are.
        error = max(spread(seen) / math.sqrt(count), _LEAST_ERROR)
        far = [reach(count, share) * error for share in (ALARMS / cases, MISSES)]
        found = Evidence(statistics.fmean(seen), *far)
        if found.verdict(tolerance) is not Verdict.NOT_ENOUGH_EVIDENCE:
            break
    return found


def fewest_pairs(cases: int) -> int:
    """Return how many pairs of runs it takes to tell a fall, however large, of so many cases."""
    return next(n for n in itertools.count(2, 2) if math.isfinite(reach(n, ALARMS / cases)))


def between(
    before: Sequence[float], now: Sequence[float], step_error: float, cases: int
) -> Evidence:
    """Return what runs of the baseline, and one or more of now, tell: Student's t of two samples.

    Args:
        before: Logarithms of throughput, a run each.
        now: The same of now; with those before three or more.
        step_error: The standard error of one run as its own steps tell it, which may be twice too
            large: of half of it runs differ at least.
        cases: How many are judged.
    """
    from scipy.special import stdtrit  # most checks need no quantile

    freedom = len(before) + len(now) - 2
    deviation = max(spread(before, now), step_error / 2, _LEAST_ERROR)
    error = deviation * math.sqrt(1 / len(before) + 1 / len(now))
    alarm, miss = (float(stdtrit(freedom, 1 - p)) * error for p in (ALARMS / cases, MISSES))
    return Evidence(statistics.fmean(now) - statistics.fmean(before), alarm, miss)


def detectable(before: Sequence[float], cases: int) -> float:
    """Return the fall, as a fraction, that checks of one run find in `FOUND` of all.

    Args:
        before: Logarithms of throughput, a run each; two or more.
        cases: How many are judged.
    """
    from scipy.special import stdtrit

    freedom = len(before) - 1
    quantiles = sum(float(stdtrit(freedom, p)) for p in (1 - ALARMS / cases, FOUND))
    return -math.expm1(-quantiles * spread(before) * math.sqrt(1 + 1 / len(before)))


def spread(*samples: Sequence[float]) -> float:
    """Return the standard deviation within samples, of more values than samples together."""
    lengths = [math.dist(one, [statistics.fmean(one)] * len(one)) for one in samples]
    return math.hypot(*lengths) / math.sqrt(sum(map(len, samples)) - len(samples))


def beyond_doubt(
    change: float, step_errors: Sequence[float], cases: int, tolerance: float
) -> Evidence:
    """Return what two runs tell of which nobody knows how much runs of one code differ.

    Args:
        change: Logarithm of throughput now ÷ in the baseline.
        step_errors: The standard error of each side, as far as the steps within it tell.
        cases: How many are judged.
        tolerance: A fall must surely be beyond it, too.
    """
    error = math.hypot(ASSUMED_SPREAD, ASSUMED_SPREAD, *step_errors)
    normal = statistics.NormalDist()
    alarm, miss = (normal.inv_cdf(1 - share) * error for share in (ALARMS / cases, MISSES))
    return Evidence(change, alarm, miss, floor=-math.log1p(-tolerance))
