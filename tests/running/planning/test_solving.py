"""The solver: the best there is under its limits, and more memory never means more noise."""

import itertools
import random

import pytest

from rmmbench.running.planning.costs import (
    EXACT,
    Block,
    Choice,
    Chosen,
    Costs,
    Part,
    Unit,
    paying,
    worthwhile,
)
from rmmbench.running.planning.searching import RUNGS, Goal, Ladder, aimed, modelled_peak, search
from rmmbench.running.planning.solving import Limits, Weights, solve

MIB = 2**20


def costs(seed, blocks=3, units=2):
    """Return the costs of a made-up model, whose numbers follow from a seed."""
    rng = random.Random(seed)
    found = [
        Block(
            *(f"h.{b}", rng.randint(80, 200) * MIB, 8 * MIB, 0.1, rng.randint(1, 10) * MIB),
            (
                Part(False, True, (), rng.randint(1, 30) * MIB, 0.01, rng.randint(0, 5) * MIB),
                Part(True, b > 1, (), rng.randint(20, 50) * MIB, 0.02, rng.randint(0, 20) * MIB),
            ),
        )
        for b in range(blocks)
    ]
    chosen = [
        Unit((f"h.{b}.{u}",), b, worthwhile([choice(rng) for _ in range(4)]), u * 31 * MIB)
        for b in range(blocks)
        for u in range(units)
    ]
    exact = sum(block.kept_bytes for block in found) + 100 * MIB
    return Costs(exact, 120 * MIB, 1.0, tuple(chosen), tuple(found))


def choice(rng):
    """Return a choice in which saving more is noisier."""
    saved = rng.randint(1, 30)
    seconds = rng.uniform(-0.01, 0.01)
    noise = saved * rng.uniform(0.01, 0.1)
    return Choice(saved / 31, 8, saved * MIB, noise, seconds, 1.5 * seconds)


def every(made):
    """Yield each way to choose; blocks are computed again from the first on."""
    count = len(made.blocks)
    for first in range(count + 1):
        again = tuple(range(first))
        rest = range(first, count)
        for picked in itertools.product(*((None, *made.blocks[b].parts) for b in rest)):
            parts = {b: part for b, part in zip(rest, picked, strict=True) if part}
            for ways in itertools.product(*(unit.choices for unit in made.units)):
                layers = {u: way for u, way in enumerate(ways) if way != EXACT}
                yield Chosen(layers, again, parts)


@pytest.mark.parametrize("seed", range(3))
def test_no_choice_is_better(seed):
    """Within a limit of memory the least noise is that of a search through all choices."""
    made = costs(seed, blocks=2, units=1)
    ways = [(modelled_peak(made, one), one.noise()) for one in every(made)]
    for share in (0.9, 0.6, 0.4):
        limit = share * made.exact_bytes
        found = solve(made, Limits(limit), Weights(noise=1.0))
        fitting = [noise for peak, noise in ways if peak <= limit]
        assert (found is None) == (not fitting)
        if found is not None:
            assert modelled_peak(made, found) <= limit * (1 + 1e-9)
            assert found.noise() == pytest.approx(min(fitting), abs=1e-6)
    least = solve(made, Limits(), Weights(peak=1.0))
    assert modelled_peak(made, least) == min(peak for peak, _ in ways)


@pytest.mark.parametrize("seed", range(4))
def test_more_memory_never_means_more_noise(seed):
    """On the ladder of a goal noise falls from rung to rung."""
    made = costs(seed)
    goal = Goal("least noise", "", Limits(seconds=0.15), Weights(noise=1.0), Weights(seconds=1.0))
    ladder = Ladder(made, goal)
    noise = [ladder.rung(number).noise() for number in range(0, RUNGS, 9)]
    assert all(low >= high * (1 - 1e-5) for low, high in itertools.pairwise(noise))
    assert noise[0] > noise[-1]


@pytest.mark.parametrize("seed", range(20))
def test_a_larger_limit_finds_no_lower_rung(seed):
    """Whatever is predicted, in any order: a bisection that is always the same never goes back."""
    rng = random.Random(seed)
    peaks = {number: number + rng.randint(-30, 30) for number in range(RUNGS)}

    def found(limit):
        trying = search(lambda number: number, limit)
        try:
            asked = next(trying)
            while True:
                asked = trying.send(peaks[asked])
        except StopIteration as end:
            return end.value

    rungs = [found(limit) for limit in range(-10, RUNGS + 20)]
    known = [rung for rung in rungs if rung is not None]
    assert known == sorted(known)
    assert all(peaks[rung] <= limit for limit, rung in enumerate(rungs, -10) if rung is not None)


@pytest.mark.parametrize("off", [-0.1, 0.0, 0.07])
def test_few_predictions_find_a_plan_near_the_limit(off):
    """However far the solver's model is off, a plan within 2 % of the limit is found in five."""
    unit = (EXACT, *(Choice(k / 50, 8, 10 * k * MIB, k, 0.0, 0.0) for k in range(1, 10)))
    made = Costs(1000 * MIB, 0, 1.0, tuple(Unit((f"{i}",), None, unit) for i in range(10)), ())
    goal = Goal("fastest", "", Limits(), Weights(noise=1.0))
    ladder, limit = Ladder(made, goal), 600 * MIB
    trying = aimed(ladder.within, lambda one: modelled_peak(made, one), ladder.least, limit)
    asked, best = 0, None
    try:
        chosen = next(trying)
        while True:
            asked += 1
            chosen = trying.send(int((1 + off) * modelled_peak(made, chosen)))
    except StopIteration as end:
        best = end.value
    assert asked <= 5
    assert 0.98 * limit <= (1 + off) * modelled_peak(made, best) <= limit


def test_equal_layers_are_counted():
    """Units with the same choices are shared out without regard to which is which."""
    unit = (EXACT, Choice(0.5, None, 10 * MIB, 1.0, 0.0, 0.0))
    made = Costs(100 * MIB, 0, 1.0, tuple(Unit((f"{i}",), None, unit) for i in range(5)), ())
    found = solve(made, Limits(75 * MIB), Weights(noise=1.0))
    assert len(found.layers) == 3
    assert found.noise() == 3.0


def test_the_first_blocks_are_computed_again():
    """They come last in the backward pass, when there is room for them."""
    made = costs(7, blocks=4, units=0)
    for limit in range(200, made.exact_bytes // MIB, 40):
        found = solve(made, Limits(limit * MIB), Weights(seconds=1.0))
        if found is not None:
            assert found.again == tuple(range(len(found.again)))
            assert modelled_peak(made, found) <= limit * MIB


def test_of_equal_blocks_the_first_are_computed_again_most():
    """They come last in the backward pass; a kind of blocks is counted, not named one by one."""
    parts = (Part(True, False, (), 20 * MIB, 0.01), Part(True, True, (), 40 * MIB, 0.03))
    blocks = tuple(Block(f"h.{b}", 60 * MIB, 8 * MIB, 0.1, MIB, parts) for b in range(4))
    made = Costs(300 * MIB, 120 * MIB, 1.0, (), blocks)
    found = solve(made, Limits(180 * MIB), Weights(seconds=1.0))
    assert found == Chosen({}, (), {0: parts[1], 1: parts[1], 2: parts[0], 3: parts[0]})
    assert modelled_peak(made, found) == 180 * MIB


def test_what_the_last_block_makes_again_counts():
    """It is the first in the backward pass, beside all that is kept: one that needs least."""
    parts = (Part(True, False, (), 20 * MIB, 0.01, 15 * MIB),)
    blocks = tuple(Block(f"h.{b}", 60 * MIB, 8 * MIB, 0.1, MIB, parts) for b in range(4))
    made = Costs(300 * MIB, 120 * MIB, 1.0, (), blocks)
    found = solve(made, Limits(240 * MIB), Weights(seconds=1.0))
    assert found == Chosen({}, (), dict.fromkeys(range(3), parts[0]))
    assert modelled_peak(made, found) == 240 * MIB
    found = solve(made, Limits(235 * MIB), Weights(seconds=1.0))
    assert modelled_peak(made, found) == 235 * MIB
    assert len(found.parts) == 4


def test_a_part_that_saves_no_more_in_more_time_is_left_out():
    """What remains saves more with each second."""
    good, best = Part(True, False, (), 20, 0.1), Part(True, True, (), 30, 0.2)
    assert paying([best, Part(True, False, ("up",), 20, 0.3), good]) == (good, best)


def test_what_cannot_be_is_none():
    """Below the least there is no plan."""
    assert solve(costs(0), Limits(MIB), Weights(noise=1.0)) is None


def test_a_choice_that_another_beats_is_left_out():
    """What saves no more, and is no less noisy nor faster, is never chosen."""
    good, bad = Choice(0.5, 8, 10, 1.0, 0.0, 0.0), Choice(0.4, 8, 9, 1.0, 0.0, 0.0)
    fast = Choice(0.4, None, 5, 2.0, -1.0, -1.0)
    assert worthwhile([bad, good, fast, good]) == (EXACT, good, fast)
