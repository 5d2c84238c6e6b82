"""A timeline is thinned to what matters."""

import random

import pytest

from rmmbench.measures.memory.categories import Moment
from rmmbench.measures.memory.following import thinned
from rmmbench.results.timeline import PHASES

pytestmark = pytest.mark.usefixtures("one_thread")


def walk(seed, lengths):
    """Return moments of three phases whose totals go up and down at random."""
    chance = random.Random(seed)
    moments, total = [], 1000
    for phase, length in zip(PHASES, lengths, strict=True):
        for _ in range(length):
            total = max(1, total + chance.randint(-50, 50))
            moments.append(Moment(len(moments), phase, {}, total, 0, None))
    return moments


@pytest.mark.parametrize("lengths", [(700, 900, 30), (1, 1, 1), (40, 3, 5000), (0, 500, 500)])
@pytest.mark.parametrize("most", [10, 11, 50, 400])
def test_thinning_keeps_what_matters(lengths, most):
    """Of each phase the first and last moment stay, and of all the highest; no more than asked."""
    moments = walk(most, lengths)
    kept = thinned(moments, most)
    assert len(kept) <= most
    assert [each.time for each in kept] == sorted({each.time for each in kept})
    assert max(moments, key=lambda each: each.total) in kept
    for phase in PHASES:
        of_phase = [each for each in moments if each.phase == phase]
        assert {each.time for each in (*of_phase[:1], *of_phase[-1:])} <= {e.time for e in kept}


def test_thinning_keeps_spikes():
    """A single high moment in a flat stretch stays, and so does a single low one."""
    flat = [Moment(i, PHASES[i // 300], {}, 100, 0, None) for i in range(900)]
    for place, total in ((77, 150), (140, 50), (450, 180), (700, 20)):
        flat[place] = flat[place]._replace(total=total)
    kept = thinned(flat, 60)
    assert {50, 20, 150, 180} <= {each.total for each in kept}


def test_nothing_is_thinned_that_fits():
    """Where there is room for all moments, all stay."""
    moments = walk(0, (30, 40, 5))
    assert thinned(moments, 75) == moments
    assert len(thinned(moments, 74)) < 75


def test_thinning_keeps_each_micro_batch():
    """A phase that returns keeps its ends each time, until it returns too often for that."""
    phases = [phase for phase in ("forward", "backward") * 4 for _ in range(50)]
    moments = [Moment(i, phase, {}, i % 7, 0, None) for i, phase in enumerate(phases)]
    kept = [each.time for each in thinned(moments, 60)]
    assert {50 * i for i in range(8)} | {50 * i + 49 for i in range(8)} <= set(kept)
    assert len(thinned(moments, 12)) <= 12
