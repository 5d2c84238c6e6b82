"""An interval that is looked at again and again holds at all looks together."""

import math

import numpy as np
import pytest

from rmmbench.report.check.sequential import reach


def test_holds_at_every_look():
    """Of 4,000 series of noise no more than stated ever leave the interval, at 30 looks each."""
    series, error = 4000, 0.025
    values = np.random.default_rng(0).normal(size=(series, 60))
    left = np.zeros(series, dtype=bool)
    for count in range(2, 61, 2):
        seen = values[:, :count]
        t = math.sqrt(count) * seen.mean(axis=1) / seen.std(axis=1, ddof=1)
        left |= np.abs(t) > reach(count, error)
    stated = 2 * error
    assert left.mean() <= stated + 3 * math.sqrt(stated * (1 - stated) / series)
    # Not by being wide beyond use, either.
    assert left.mean() > stated / 5


def test_more_differences_reach_less_far():
    """The interval of a mean narrows with every look, and is wider the less may leave it."""
    widths = [reach(count, 0.01) / math.sqrt(count) for count in range(8, 200, 2)]
    assert widths == sorted(widths, reverse=True)
    assert reach(20, 0.001) > reach(20, 0.01) > 2.8


@pytest.mark.parametrize("count", [2, 4])
def test_few_differences_tell_nothing_rare(count):
    """However large they are, a few differences cannot prove what may err once in a thousand."""
    assert reach(count, 0.0005) == math.inf
