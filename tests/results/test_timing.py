"""What follows from raw step times, whoever wrote them."""

import pytest
from pydantic import ValidationError

from rmmbench.results import paired
from rmmbench.results.timing import Timing

TIMES = {"device": "cpu", "step_seconds": [1.0, 4.0, 2.0], "samples_per_second": 8.0}


def test_what_follows_from_raw_times_is_reckoned_anew():
    """A record of before, with the ratio of medians and a standard error, has what pairs say."""
    old = TIMES | {"reference_step_seconds": [1.0, 3.0, 8.0], "spread": 0.01}
    timing = Timing.model_validate(old | {"relative_throughput": 3.0 / 2.0})
    assert timing.relative_throughput == 1.0
    found = paired.relative_throughput(timing.reference_step_seconds, timing.step_seconds)
    assert timing.relative_throughput_low == found.low
    assert timing.relative_throughput_high == found.high
    step = paired.median(timing.step_seconds)
    assert timing.samples_per_second_low == pytest.approx(8.0 * 2.0 / step.high)
    assert timing.samples_per_second_high == pytest.approx(8.0 * 2.0 / step.low)
    assert Timing.model_validate_json(timing.model_dump_json()) == timing


@pytest.mark.parametrize("told", [1.0, None])
def test_without_pairs_relative_throughput_is_what_was_told(told):
    """Exact's is 1, and that of a case that exact took no turns with is null; neither has ends."""
    ends = {"relative_throughput_low": 0.9, "relative_throughput_high": 1.1}
    timing = Timing.model_validate(TIMES | ends | {"relative_throughput": told})
    assert timing.relative_throughput == told
    assert timing.relative_throughput_low is timing.relative_throughput_high is None


def test_one_step_has_no_interval_and_says_why():
    """What is null of a timing has its reason; two steps have all."""
    one = TIMES | {"step_seconds": [1.0], "reference_step_seconds": [2.0]}
    assert Timing.model_validate(one).missing == {
        "samples_per_second_low": "an interval takes two or more steps, and there is one",
        "samples_per_second_high": "an interval takes two or more steps, and there is one",
        "relative_throughput_low": "an interval takes two or more pairs of steps, and there is one",
        "relative_throughput_high": (
            "an interval takes two or more pairs of steps, and there is one"
        ),
    }
    two = TIMES | {"step_seconds": [1.0, 1.1], "reference_step_seconds": [2.0, 2.1]}
    assert Timing.model_validate(two).missing == {}
    alone = Timing.model_validate(TIMES).missing
    assert set(alone.values()) == {"exact took no turns"}


def test_steps_come_in_pairs():
    """Times of exact that belong to no step are refused."""
    with pytest.raises(ValidationError, match=r"as many as step_seconds \(3\), or none, got 2"):
        Timing.model_validate(TIMES | {"reference_step_seconds": [1.0, 1.0]})


def test_an_interval_as_wide_as_can_be_is_finite():
    """The farthest times that a record may have leave numbers that JSON can hold."""
    wild = {"step_seconds": [1e-12, 1e15], "reference_step_seconds": [1e15, 1e-12]}
    timing = Timing.model_validate(TIMES | wild | {"samples_per_second": 1e15})
    assert Timing.model_validate_json(timing.model_dump_json()) == timing


def test_without_pairs_there_is_no_ratio_but_one():
    """A relative throughput that no pair of steps bears out is refused."""
    with pytest.raises(ValidationError, match=r"must be 1, of exact, or null .* got 1.3"):
        Timing.model_validate(TIMES | {"relative_throughput": 1.3})
