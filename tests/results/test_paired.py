"""The interval of relative throughput holds as often as it says, whatever the noise."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import quantile_test, t

from rmmbench.results import paired

DRAWS = 1500

NOISES = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy": lambda rng, shape: rng.standard_t(3, shape),
    # Either step of a pair is now and then too slow, and never too fast.
    "delays": lambda rng, shape: rng.exponential(size=shape) - rng.exponential(size=shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - math.log(2),
}
"""Noise of the logarithm of a ratio, of median 0."""


def held(values, ends):
    """Return the percentage of rows up to their ends whose interval holds 1, the true median."""
    found = [paired.median(row[:end]) for row, end in zip(values, ends, strict=True)]
    return 100 * np.mean([each.low <= 1 <= each.high for each in found])


def drawn(noise, most, seed):
    """Return rows of ratios about 1."""
    rng = np.random.default_rng(seed)
    return np.exp(0.01 * NOISES[noise](rng, (DRAWS, most))).tolist()


@pytest.mark.parametrize(
    ("noise", "count"),
    [
        *itertools.product(("normal", "heavy"), (2, 3, 4, 5, 6, 7, 8, 12, 20, 50)),
        *itertools.product(("delays", "skewed"), (6, 7, 12, 50)),
    ],
)
def test_an_interval_holds_as_often_as_it_says(noise, count):
    """95 ± 2 % of intervals hold the true median, from two pairs on; from six on of any noise."""
    assert held(drawn(noise, count, count), [count] * DRAWS) == pytest.approx(95, abs=2)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_few_pairs_with_delays_hold_at_least_as_often(count):
    """Where Student's interval does not quite suit the noise, it is too wide and not too narrow."""
    assert held(drawn("delays", count, count), [count] * DRAWS) > 94


@pytest.mark.parametrize("noise", ["normal", "skewed"])
@pytest.mark.parametrize(("fewest", "most"), [(1, 50), (7, 20), (12, 50)])
def test_stopping_does_not_make_an_interval_say_too_much(noise, fewest, most):
    """So do 95 ± 2 % of those that end as soon as enough steps are there for a target."""
    rows = drawn(noise, most, fewest)
    ends = [
        next((n for n in range(1, most) if paired.is_enough(row[:n], 0.0035, fewest)), most)
        for row in rows
    ]
    assert len(set(ends)) > 3
    assert held(rows, ends) == pytest.approx(95, abs=2)


def test_drift_of_the_machine_is_in_no_ratio():
    """A machine that slows down threefold changes both steps of a pair, and not the interval."""
    drift = [1.0, 1.0, 2.0, 2.5, 3.0, 3.0]
    noise = [1.0, 1.02, 0.99, 1.01, 0.98, 1.0]
    steps = [2.0 * slow * each for slow, each in zip(drift, noise, strict=True)]
    reference = [3.0 * slow for slow in drift]
    found = paired.relative_throughput(reference, steps)
    assert found.value == pytest.approx(1.5, rel=0.005)
    assert 1.46 < found.low < 1.5 < found.high < 1.54


def test_ratios_are_taken_pair_by_pair():
    """The median of ratios is not the ratio of medians."""
    found = paired.relative_throughput([1.0, 3.0, 8.0], [1.0, 4.0, 2.0])
    assert found.value == 1.0
    assert found.count == 3


def test_few_pairs_have_students_interval():
    """Below six the interval is Student's of the logarithms."""
    logs = [0.1, 0.2, 0.4]
    found = paired.median([math.exp(each) for each in logs])
    low, high = t.interval(0.95, 2, np.mean(logs), np.std(logs, ddof=1) / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))


@pytest.mark.parametrize("count", [6, 7, 8, 9, 15, 16, 17, 50, 51, 200])
def test_interval_lies_within_the_distribution_free_one(count):
    """Its ends lie between the sorted values that bound a median for sure, and the next inward."""
    values = np.exp(np.random.default_rng(count).normal(0, 0.1, count))
    sure = quantile_test(values, q=1, p=0.5).confidence_interval(0.95)
    ordered = sorted(values)
    inner = [ordered[ordered.index(sure.low) + 1], ordered[ordered.index(sure.high) - 1]]
    found = paired.median(values.tolist())
    assert sure.low <= found.low < inner[0]
    assert inner[1] < found.high <= sure.high


def test_another_confidence_is_another_interval():
    """More confidence is a wider interval, and takes more values to be free of a distribution."""
    values = np.exp(np.random.default_rng(0).normal(0, 0.1, 30)).tolist()
    spreads = [paired.median(values, confidence).spread for confidence in (0.9, 0.95, 0.99)]
    assert spreads == sorted(spreads)
    assert [paired.fewest(confidence) for confidence in (0.9, 0.95, 0.99)] == [5, 6, 8]


def test_one_value_has_no_interval():
    """One pair has a ratio and no interval; steps alone have nothing."""
    assert paired.median([2.0]) == paired.Median(2.0, None, None, 1)
    assert paired.median([2.0]).spread is None
    assert paired.relative_throughput([], [1.0, 2.0]) is None


def test_enough_is_told_from_the_first_half_of_the_fewest():
    """What comes later does not change how many steps are enough, be it as noisy as it may."""
    steady, noisy = [1.0, 1.001, 0.999], [1.0, 1.1, 0.9]
    assert paired.is_enough([*steady, 5.0, 1.0, 9.0], 0.01, 2)
    assert not paired.is_enough(steady, 0.01, 2)
    assert not paired.is_enough(steady * 2, 0.01, 7)
    assert not paired.is_enough(noisy + [1.0] * 100, 0.01, 2)
    assert paired.is_enough(noisy + [1.0] * 200, 0.01, 2)


def test_a_target_out_of_reach_is_never_reached():
    """No target is too small to be told from."""
    assert not paired.is_enough([1.0, 1.1, 0.9] * 20, 1e-310, 2)
