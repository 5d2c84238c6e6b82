"""Means over seeds, and whether a difference between two settings is more than chance."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

CONFIDENCE: Final = 0.95
LEVEL: Final = 0.05

_EQUAL = 1e-12  # as a fraction of the scores; nearer ones differ by rounding alone


@dataclass(frozen=True)
class Spread:
    """A number over runs that differ in their seed.

    Attributes:
        count: How many runs have the number.
        deviation: Standard deviation over the runs; None for one run.
    """

    count: int
    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """Return the spread of the values that are not None; None if there are none."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        deviation = statistics.stdev(known) if len(known) > 1 else None
        return cls(len(known), statistics.fmean(known), deviation)

    @property
    def ends(self) -> tuple[float, float]:
        """The mean ± one standard deviation, which counts as 0 for one run."""
        deviation = self.deviation or 0.0
        return self.mean - deviation, self.mean + deviation

    def scaled(self, scale: float) -> "Spread":
        """Return the same in another unit."""
        deviation = None if self.deviation is None else scale * self.deviation
        return Spread(self.count, scale * self.mean, deviation)


@dataclass(frozen=True)
class Difference:
    """How a setting's scores differ from exact's, seed by seed.

    Attributes:
        pairs: The number of seeds with both scores.
        mean: The mean of the setting's score − exact's.
        low, high: Ends of the mean's confidence interval; None for one pair.
        p_value: Of the two-sided paired t-test; None for one pair, or if all differences are the
            same number other than 0, which leaves the test no spread.
        adjusted: The p-value adjusted over all comparisons of the place.
    """

    pairs: int
    mean: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    adjusted: float | None = None

    @property
    def is_more_than_chance(self) -> bool | None:
        """Whether the adjusted p-value is below `LEVEL`; None if there is none."""
        return None if self.adjusted is None else self.adjusted < LEVEL


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Return how scores by seed differ from exact's by seed; None without a common seed."""
    seeds = [seed for seed in ours if seed in theirs]
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    if not differences:
        return None
    pairs, mean = len(differences), statistics.fmean(differences)
    if pairs == 1:
        return Difference(pairs, mean)
    largest = max(abs(score) for seed in seeds for score in (ours[seed], theirs[seed]))
    if max(differences) - min(differences) <= _EQUAL * largest:
        is_none = abs(mean) <= _EQUAL * largest
        return Difference(pairs, mean, mean, mean, 1.0 if is_none else None)
    from scipy.stats import ttest_1samp

    test = ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    return Difference(pairs, mean, float(interval.low), float(interval.high), float(test.pvalue))


def adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values adjusted together, in the same order; None stays None."""
    from scipy.stats import false_discovery_control

    known = [value for value in p_values if value is not None]
    found = iter(false_discovery_control(known) if known else ())
    return [None if value is None else float(next(found)) for value in p_values]
