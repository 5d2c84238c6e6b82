"""Where names of points go in the frontier: on nothing else, and within the frame."""

import random
from itertools import combinations

import pytest

from rmmbench.report.figures._frontier_labels import Box, Label, place_labels


def boxes(labels, frame):
    """Return the boxes of the names that found a place."""
    return [place.box for place in place_labels(labels, frame, []) if place is not None]


@pytest.mark.parametrize("seed", range(5))
def test_no_name_covers_another_or_a_point(seed):
    """Names that are not needed are written only where they cover nothing; all in the frame."""
    numbers, frame = random.Random(seed), Box(0, 0, 600, 400)
    spots = [(numbers.uniform(30, 570), numbers.uniform(30, 370)) for _ in range(25)]
    labels = [Label("a name of a method", spot, is_needed=False) for spot in spots]
    found = boxes(labels, frame)
    assert len(found) > 5
    assert all(frame.overlap(box) == pytest.approx(box.overlap(box)) for box in found)
    assert not any(one.overlap(other) for one, other in combinations(found, 2))
    assert not any(
        box.left < x < box.right and box.bottom < y < box.top for box in found for x, y in spots
    )


def test_needed_names_are_always_there():
    """Points in one heap keep the names that are needed, and lose the others."""
    spots = [(200 + i, 200.0) for i in range(40)]
    labels = [Label("needed", spots[0], True)]
    labels += [Label("a long name that is not", spot, False) for spot in spots[1:]]
    places = place_labels(labels, Box(0, 0, 400, 400), [])
    assert places[0] is not None
    assert None in places
