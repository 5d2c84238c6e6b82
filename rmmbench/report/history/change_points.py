"""Where noisy numbers moved, and how sure that is.

A series is split where Student's t of two samples, of what is before and after, is largest. How
large it gets by chance anywhere in an unchanged series of normal noise depends on nothing but the
number of runs and the possible splits, so it is simulated once (K. J. Worsley, On the likelihood
ratio test for a change in location of normal populations, 1979); far in the tail the sum over all
splits bounds it. Each part is split again (binary segmentation; A. J. Scott and M. Knott, 1974).

Many series are looked at together: all splits of one round are judged by the procedure of Benjamini
and Hochberg (1995), so that of unchanged series fewer than `ALARMS` of all histories show any move.

ruptures finds where and not how sure; E-divisive, as in apache-otava and
signal-processing-algorithms, permutes the runs, and ten runs have too few permutations to be sure
at this level. The first has no test, the second pins numpy to a minor version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from rmmbench.report.check.evidence import ALARMS

Array = NDArray[Any]

FEWEST: Final = 4
"""Runs that a series must have for a split to be sure."""

_DRAWS, _AT_ONCE = 10_000, 2_000_000
_LEAST_ERROR: Final = 1e-9


@dataclass(frozen=True)
class Sample:
    """A series of noisy numbers, oldest first.

    Attributes:
        values: In the scale in which noise is even: logarithms of what is positive.
        errors: The standard error of each, from within its run; 0 if it is not known.
        codes: What runs of the same code share: a series is split between codes only.
    """

    values: Sequence[float]
    errors: Sequence[float]
    codes: Sequence[str]


@dataclass(frozen=True)
class ChangePoint:
    """The first run after a change, and the probability of seeing as much in unchanged series."""

    index: int
    p_value: float


@dataclass(frozen=True)
class _Part:
    sample: int
    start: int
    stop: int


def change_points(samples: Sequence[Sample], alarms: float = ALARMS) -> list[list[ChangePoint]]:
    """Return the change points of each series, from the first to the last.

    Args:
        samples: All series of a history, which are judged together.
        alarms: How often unchanged series may together show any change.
    """
    from scipy.stats import false_discovery_control

    points: list[list[ChangePoint]] = [[] for _ in samples]
    parts = [_Part(index, 0, len(each.values)) for index, each in enumerate(samples)]
    while parts:
        splits = [(part, _best(samples[part.sample], part)) for part in parts]
        found = [(part, split) for part, split in splits if split is not None]
        shares = false_discovery_control([split.p_value for _, split in found]) if found else []
        parts = []
        for (part, split), share in zip(found, shares, strict=True):
            if share <= alarms:
                points[part.sample].append(ChangePoint(split.index, float(share)))
                parts.append(_Part(part.sample, part.start, split.index))
                parts.append(_Part(part.sample, split.index, part.stop))
    return [sorted(each, key=lambda point: point.index) for each in points]


def _best(sample: Sample, part: _Part) -> ChangePoint | None:
    """Return the likeliest change within a part, if any is possible."""
    splits = _possible(sample, part)
    if not splits:
        return None
    values, errors = (
        np.asarray(each[part.start : part.stop], float) for each in (sample.values, sample.errors)
    )
    squares = _t_squared(values, np.asarray(splits), _step_variance(errors, np.asarray(splits)))
    best = int(np.argmax(squares))
    return ChangePoint(part.start + splits[best], _p_value(squares[best], len(values), splits))


def _possible(sample: Sample, part: _Part) -> tuple[int, ...]:
    """Return how many runs of a part may be before a change: between codes, two at the least.

    After it is one at least, or two if more runs follow: a single disturbed run is no change.
    """
    count = part.stop - part.start
    if count < FEWEST:
        return ()
    least_after = 1 if part.stop == len(sample.values) else 2
    codes = sample.codes[part.start : part.stop]
    return tuple(k for k in range(2, count - least_after + 1) if codes[k - 1] != codes[k])


def _t_squared(values: Array, splits: Array, least: Array | float = 0.0) -> Array:
    """Return the square of Student's t of two samples for each split.

    Args:
        values: Shape (..., runs).
        splits: How many runs are before each, shape (splits,).
        least: The least variance of the difference of means, shape (splits,).

    Returns:
        Shape (..., splits).
    """
    count = values.shape[-1]
    centred = values - values.mean(axis=-1, keepdims=True)
    # With S the sum of the first k of n, the means differ by S n / (k (n − k)).
    weights = count / (splits * (count - splits))
    differences = centred.cumsum(axis=-1)[..., splits - 1] * weights
    within = (centred**2).sum(axis=-1, keepdims=True) - differences**2 / weights
    variances = np.maximum(within / (count - 2), _LEAST_ERROR**2) * weights
    return np.asarray(differences**2 / np.maximum(variances, least))


def _step_variance(errors: Array, splits: Array) -> Array:
    """Return the variance of the difference of means that noise within runs alone would give.

    A run's own error may be twice too large, so half of it counts, as for `rmmbench check`.
    """
    count, sums = len(errors), (errors**2 / 4).cumsum()
    before = sums[splits - 1]
    return np.asarray(before / splits**2 + (sums[-1] - before) / (count - splits) ** 2)


def _p_value(square: float, count: int, splits: tuple[int, ...]) -> float:
    """Return how often the largest t² over the splits of `count` unchanged runs is as large."""
    simulated = _unchanged(count, splits)
    above = len(simulated) - int(np.searchsorted(simulated, square))
    bound = 2 * len(splits) * float(stdtr(count - 2, -np.sqrt(square)))
    return min(1.0, (above + 1) / (len(simulated) + 1), bound)


@cache
def _unchanged(count: int, splits: tuple[int, ...]) -> Array:
    """Return the sorted largest t² over the splits of so many runs of normal noise, simulated."""
    noise = np.random.default_rng(count)
    at_once = max(1, _AT_ONCE // count)
    found = [
        _t_squared(noise.standard_normal((min(at_once, _DRAWS - start), count)), np.asarray(splits))
        for start in range(0, _DRAWS, at_once)
    ]
    return np.sort(np.concatenate([squares.max(axis=-1) for squares in found]))
