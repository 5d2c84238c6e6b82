"""The axis of a training step stands for time, whatever phases a step has."""

import itertools

import pytest

from rmmbench.report.figures._phase_axis import phase_axis, places, walls
from rmmbench.results.timeline import CATEGORIES, Timeline, TimePoint


def timeline(*phases, points=4):
    """Return a step with some points of each phase, one after the other."""
    told = [phase for phase in phases for _ in range(points)]
    sizes = (0,) * len(CATEGORIES)
    return Timeline(
        device="predict",
        operators=len(told),
        points=tuple(TimePoint(time=i, phase=p, live_bytes=sizes) for i, p in enumerate(told)),
        epoch=(),
    )


USUAL = ("forward", "backward", "optimizer")
PASSES = ("forward", "backward")


@pytest.mark.parametrize(
    ("phases", "words", "edges"),
    [
        (USUAL, ["forward", "backward", "optimizer"], [1, 2]),
        (PASSES, ["forward", "backward"], [1]),
        ((*PASSES * 2, "optimizer"), ["micro-batch 1", "micro-batch 2", "optimizer"], [1, 2]),
        (
            (*PASSES * 4, "optimizer"),
            ["1", "micro-batch 2", "3", "4", "optimizer"],
            [0.5, 1, 1.5, 2],
        ),
    ],
)
def test_phases_stand_side_by_side(phases, words, edges):
    """Each phase has its word and its wall; those of micro-batches stand in pairs."""
    step = timeline(*phases)
    drawn = phase_axis(step)
    assert list(drawn["ticktext"]) == words
    assert walls(step) == pytest.approx(edges)
    ends = [0, *edges, drawn["range"][1]]
    middles = [(left + right) / 2 for left, right in itertools.pairwise(ends)]
    assert drawn["tickvals"] == pytest.approx(middles)


def test_many_micro_batches_have_few_words():
    """So that no word covers another, only the first and the last of many are counted."""
    words = phase_axis(timeline(*PASSES * 32, "optimizer"))["ticktext"]
    assert [word for word in words if word] == ["1", "micro-batch 16", "32", "optimizer"]


@pytest.mark.parametrize("phases", [USUAL, PASSES, (*PASSES * 3, "optimizer")])
def test_time_goes_to_the_right(phases):
    """Points stand in order, from the left end of the axis to the right."""
    step = timeline(*phases)
    found = list(places(step))
    assert found == sorted(found)
    assert (found[0], found[-1]) == pytest.approx((0, phase_axis(step)["range"][1]))
