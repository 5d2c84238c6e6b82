"""Relative throughput is judged by intervals, so that noise does not fail a check."""

import random

import pytest
from scipy.stats import quantile_test

from rmmbench.check.report import Verdict
from rmmbench.check.throughput import FEWEST_PAIRS, judge, measured, median
from rmmbench.record import Timing


def steady(level, count=20, spread=0.01, seed=0):
    """Values about `level`, within `spread` of it."""
    numbers = random.Random(seed)
    return median([level * (1 + spread * numbers.uniform(-1, 1)) for _ in range(count)])


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 8, 9, 15, 16, 17, 50, 51, 200])
def test_interval_is_the_exact_one(count):
    """The interval of a median is the one that scipy finds from the binomial distribution."""
    values = [random.Random(count).gauss(1, 0.1) for _ in range(count)]
    values = [value + index * 1e-3 for index, value in enumerate(values)]
    expected = quantile_test(values, q=0, p=0.5).confidence_interval(0.95)
    found = median(values)
    if count < FEWEST_PAIRS:
        assert found.low is None
        assert found.high is None
    else:
        assert (found.low, found.high) == (expected.low, expected.high)


def test_ratios_are_taken_pair_by_pair():
    """A machine that slows down halfway changes both steps of a pair, and so no ratio."""
    timing = Timing(
        device="cpu",
        step_seconds=(1.0, 1.0, 4.0, 4.0),
        reference_step_seconds=(2.0, 2.0, 8.0, 8.0),
        samples_per_second=1.0,
        relative_throughput=2.0,
    )
    assert measured(timing).value == 2.0


def test_no_pairs_no_median():
    """A case without a reference, or without timing, has no relative throughput."""
    alone = Timing(
        device="cpu",
        step_seconds=(1.0,),
        samples_per_second=1.0,
        relative_throughput=1.0,
    )
    assert measured(alone) is None
    assert measured(None) is None


def test_clear_loss_regresses():
    """An interval that lies wholly below the baseline's by more than the tolerance regressed."""
    assert judge(steady(1.0), steady(0.85), 0.1) == (Verdict.REGRESSED, None)


def test_loss_within_tolerance_is_the_same():
    """A loss below the tolerance is none, however sure it is."""
    assert judge(steady(1.0), steady(0.93), 0.1) == (Verdict.SAME, None)


def test_gain_improves():
    """An interval wholly above the baseline's by more than the tolerance improved."""
    assert judge(steady(1.0), steady(1.2), 0.1) == (Verdict.IMPROVED, None)


def test_noisy_loss_is_not_enough_evidence():
    """A loss beyond the tolerance whose interval reaches into it is no regression."""
    now = median([0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1])
    verdict, reason = judge(steady(1.0), now, 0.1)
    assert verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert reason == "within the noise of 7 pairs of steps"


def test_noisy_gain_is_the_same():
    """A gain that reaches back into the baseline's noise is not told as one."""
    now = median([0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
    assert judge(steady(1.0), now, 0.1) == (Verdict.SAME, None)


def test_few_pairs_are_not_enough_evidence():
    """Five pairs have no interval of 95 %, and the reason says how many it takes."""
    verdict, reason = judge(steady(1.0), steady(0.5, count=5), 0.1)
    assert verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert reason == "5 pairs of steps, and an interval needs 6"


def test_noise_alone_does_not_regress():
    """Two runs of one thing on a machine with 20 % of noise never fail, and it is said of some."""
    verdicts = [
        judge(steady(1.0, 9, 0.2, seed), steady(1.0, 9, 0.2, seed + 1000), 0.1)[0]
        for seed in range(500)
    ]
    assert verdicts.count(Verdict.REGRESSED) == 0
    assert verdicts.count(Verdict.NOT_ENOUGH_EVIDENCE) > 0
