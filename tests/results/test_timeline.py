"""Memory over time as it stands in a record."""

import pytest
from pydantic import ValidationError

from rmmbench.results.timeline import CATEGORIES, StepPeak, Timeline, TimePoint
from rmmbench.spec.measuring import TimelineSettings


def point(time, *sizes, phase="forward"):
    """Return a point with so many bytes in each category."""
    return TimePoint(time=time, phase=phase, live_bytes=sizes)


def test_the_highest_is_that_of_the_sum():
    """What counts is all that is live, whatever it is for; of equals the first."""
    points = point(0, 9, 0, 0, 0, 0, 0), point(1, 2, 2, 2, 2, 2, 2), point(2, 12, 0, 0, 0, 0, 0)
    timeline = Timeline(device="predict", operators=2, points=points, epoch=())
    assert [each.total_bytes for each in points] == [9, 12, 12]
    assert timeline.highest == points[1]


@pytest.mark.parametrize("count", [len(CATEGORIES) - 1, len(CATEGORIES) + 1])
def test_each_category_has_its_bytes(count):
    """A point or a peak with more or fewer numbers than categories is none."""
    with pytest.raises(ValidationError, match="at_peak_bytes"):
        StepPeak(step=1, rows=1, peak_bytes=1, at_peak_bytes=(0,) * count, resting_bytes=0)
    with pytest.raises(ValidationError, match="live_bytes"):
        point(0, *(0,) * count)


def test_it_is_the_same_after_a_file():
    """What is written as JSON is read again."""
    peak = StepPeak(step=1, rows=3, peak_bytes=6, at_peak_bytes=(1,) * 6, resting_bytes=2)
    points = (point(0, 1, 2, 3, 4, 5, 6, phase="backward"),)
    timeline = Timeline(
        device="cuda", operators=1, points=points, epoch=(peak,), snapshot="a.pickle"
    )
    assert Timeline.model_validate_json(timeline.model_dump_json()) == timeline


@pytest.mark.parametrize("few", [{"epoch_steps": 1}, {"max_points": 9}])
def test_there_is_a_step_to_follow(few):
    """An epoch has a warmed-up step, and a step room for its phases' ends and its highest point."""
    with pytest.raises(ValidationError, match=next(iter(few))):
        TimelineSettings(**few)
