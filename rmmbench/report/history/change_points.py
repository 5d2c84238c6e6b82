"""Where noisy numbers moved, and how sure that is.

A series is split where Student's t of two samples, of what is before and after, is largest. How
large it gets by chance anywhere in an unchanged series of normal noise depends on nothing but the
number of runs and the possible splits, so it is simulated once (K. J. Worsley, On the likelihood
ratio test for a change in location of normal populations, 1979); far in the tail the sum over all
splits bounds it. A stretch in the middle that differs from all the rest is looked for, too, with
that bound (A. B. Olshen et al., Circular binary segmentation, 2004). Each part is split again. Runs
that were disturbed are clipped, in the simulation as well, and a side has `LEAST` runs.

Many series are looked at together: all splits of one round are judged by the procedure of Benjamini
and Hochberg (1995), so that of all histories of unchanged code about `ALARMS` show any move.

ruptures finds where and not how sure; E-divisive, as in apache-otava and
signal-processing-algorithms, permutes the runs, and ten runs have too few permutations to be sure
at this level. The first has no test, the second pins numpy to a minor version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from rmmbench.report.check.evidence import ALARMS

Array = NDArray[Any]

LEAST: Final = 3
"""Runs on either side of a change: one or two that were disturbed look the same as one."""
FEWEST: Final = 2 * LEAST
"""Runs that a series must have."""

_STRETCHES: Final = 0.25
"""The share of alarms that stretches may raise; splits, which are likelier, have the rest."""

_FEWEST_DRAWS, _MOST_DRAWS, _DRAWN_RUNS, _AT_ONCE = 10_000, 100_000, 4_000_000, 1_000_000
_LEAST_ERROR: Final = 1e-9
_FAR: Final = 4 * 1.4826
"""How far a run may be from the median before it is clipped: four standard deviations, in median
absolute deviations of normal noise (F. R. Hampel, The influence curve, 1974)."""


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


@dataclass(frozen=True)
class _Change:
    """A split, or both ends of a stretch that differs."""

    ends: tuple[int, ...]
    p_value: float


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
        likeliest = [(part, _likeliest(samples[part.sample], part)) for part in parts]
        found = [(part, change) for part, change in likeliest if change is not None]
        chances = [change.p_value for _, change in found]
        shares: Array = false_discovery_control(chances) if found else np.empty(0)
        parts = []
        for (part, change), share in zip(found, shares, strict=True):
            if share <= alarms:
                ends = [part.start, *change.ends, part.stop]
                points[part.sample] += [ChangePoint(end, float(share)) for end in change.ends]
                parts += [_Part(part.sample, *pair) for pair in pairwise(ends)]
    return [sorted(each, key=lambda point: point.index) for each in points]


def _likeliest(sample: Sample, part: _Part) -> _Change | None:
    """Return the likeliest change within a part, if any is possible.

    It is a split, or a stretch that differs from what is before and after it, which no split shows.
    """
    splits = _possible(sample, part)
    if not splits:
        return None
    values = _clipped(np.asarray(sample.values[part.start : part.stop], float))
    errors = np.asarray(sample.errors[part.start : part.stop], float)
    ends = np.asarray(splits)
    squares = _t_squared(values, 0, ends, _step_variance(errors, 0, ends))
    best = int(np.argmax(squares))
    p_value = _p_value(squares[best], len(values), splits) / (1 - _STRETCHES)
    change = _Change((part.start + splits[best],), min(1.0, p_value))
    starts, stops = _stretches(splits)
    if len(starts):
        squares = _t_squared(values, starts, stops, _step_variance(errors, starts, stops))
        best = int(np.argmax(squares))
        p_value = _bound(squares[best], len(values), len(starts)) / _STRETCHES
        if p_value < change.p_value:
            both = int(starts[best]), int(stops[best])
            change = _Change(tuple(part.start + end for end in both), p_value)
    return change


def _possible(sample: Sample, part: _Part) -> tuple[int, ...]:
    """Return how many runs of a part may be before a change, which is between codes."""
    codes = sample.codes[part.start : part.stop]
    return tuple(k for k in range(LEAST, len(codes) - LEAST + 1) if codes[k - 1] != codes[k])


def _clipped(values: Array) -> Array:
    """Return the values, shape (..., runs), with those far from most as if they were nearer."""
    middle = np.median(values, axis=-1, keepdims=True)
    reach = _FAR * np.median(np.abs(values - middle), axis=-1, keepdims=True)
    reach[reach == 0] = np.inf  # where most are equal nothing is noise
    return np.clip(values, middle - reach, middle + reach)


@cache
def _stretches(ends: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the first run of each stretch between two ends, and the first after it."""
    starts, stops = (np.asarray(ends)[each] for each in np.triu_indices(len(ends), k=1))
    is_long = stops - starts >= LEAST
    return starts[is_long], stops[is_long]


def _t_squared(values: Array, starts: Array | int, stops: Array, least: Array | float = 0) -> Array:
    """Return the square of Student's t of the runs of each stretch and all others.

    Args:
        values: Shape (..., runs).
        starts: The first run of each stretch, shape (stretches,).
        stops: The first after it.
        least: The least variance of the difference of means, shape (stretches,).

    Returns:
        Shape (..., stretches).
    """
    count, lengths = values.shape[-1], stops - starts
    centred = values - values.mean(axis=-1, keepdims=True)
    # With S the sum of m of n, the means of these and the others differ by S n / (m (n − m)).
    weights = count / (lengths * (count - lengths))
    differences = _sums(centred, starts, stops) * weights
    within = (centred**2).sum(axis=-1, keepdims=True) - differences**2 / weights
    variances = np.maximum(within / (count - 2), _LEAST_ERROR**2) * weights
    return np.asarray(differences**2 / np.maximum(variances, least))


def _step_variance(errors: Array, starts: Array | int, stops: Array) -> Array:
    """Return the variance of the difference of means that noise within runs alone would give.

    A run's own error may be twice too large, so half of it counts, as for `rmmbench check`.
    """
    squares, lengths = errors**2 / 4, stops - starts
    inside = _sums(squares, starts, stops)
    outside = squares.sum() - inside
    return np.asarray(inside / lengths**2 + outside / (len(errors) - lengths) ** 2)


def _sums(values: Array, starts: Array | int, stops: Array) -> Array:
    """Return the sum of each stretch of the last axis."""
    sums = values.cumsum(axis=-1)
    before = sums[..., starts - 1] if isinstance(starts, np.ndarray) else 0.0
    return np.asarray(sums[..., stops - 1] - before)


def _p_value(square: float, count: int, splits: tuple[int, ...]) -> float:
    """Return how often the largest t² over the splits of `count` unchanged runs is as large."""
    simulated = _unchanged(count, splits)
    above = len(simulated) - int(np.searchsorted(simulated, square))
    return min((above + 1) / (len(simulated) + 1), _bound(square, count, len(splits)))


def _bound(square: float, count: int, stretches: int) -> float:
    """Return the most that this probability can be, whatever the stretches."""
    return min(1.0, 2 * stretches * float(stdtr(count - 2, -np.sqrt(square))))


@cache
def _unchanged(count: int, splits: tuple[int, ...]) -> Array:
    """Return the sorted largest t² over the splits of so many runs of normal noise, simulated."""
    noise, ends = np.random.default_rng(count), np.asarray(splits)
    draws = min(_MOST_DRAWS, max(_FEWEST_DRAWS, _DRAWN_RUNS // count))
    at_once = max(1, _AT_ONCE // count)
    largest = []
    for done in range(0, draws, at_once):
        runs = _clipped(noise.standard_normal((min(at_once, draws - done), count)))
        largest.append(_t_squared(runs, 0, ends).max(axis=-1))
    return np.sort(np.concatenate(largest))
