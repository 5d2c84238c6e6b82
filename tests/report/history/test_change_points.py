"""Where noise moved: rarely where it did not, and wherever ten runs can show it."""

import math
import random
import statistics

import pytest

from rmmbench.report.history.change_points import Sample, change_points

SPREAD = 0.02


def sample(noise, count, shift=0.0, at=0, spread=SPREAD):
    """A series of so many runs, each of its own code, that shifts at one of them."""
    values = [noise.gauss(0.0, spread) + (shift if at <= place else 0.0) for place in range(count)]
    return Sample(values, [0.0] * count, [str(place) for place in range(count)])


def test_unchanged_code_raises_as_many_alarms_as_it_says():
    """Of histories of three numbers that did not move as many show a move as may, and no more."""
    alarms, count, found = 0.1, 400, 0
    for seed in range(count):
        noise = random.Random(seed)
        found += any(change_points([sample(noise, 10) for _ in range(3)], alarms))
    error = math.sqrt(alarms * (1 - alarms) / count)
    assert 0.6 * alarms - 3 * error < found / count < alarms + 3 * error


@pytest.mark.parametrize(("runs", "at"), [(10, 5), (20, 10), (12, 9)])
def test_ten_percent_is_found(runs, at):
    """A tenth more time is found and placed to the run, where runs of one code differ by 2 %."""
    found = []
    for seed in range(200):
        points = change_points([sample(random.Random(seed), runs, math.log(1.1), at)])
        found.append([point.index for point in points[0]])
    assert statistics.fmean(bool(each) for each in found) > 0.9
    assert statistics.fmean(at in each for each in found) > 0.9


def test_one_number_that_moves_among_many_is_found():
    """That many numbers are looked at hides no large move, and moves no other."""
    noise = random.Random(0)
    moved = sample(noise, 16, math.log(1.15), 8)
    found = change_points([*(sample(noise, 16) for _ in range(99)), moved])
    assert [point.index for point in found[-1]] == [8]
    assert not any(found[:-1])


def test_two_moves_are_found():
    """There and back again is two moves."""
    noise = random.Random(1)
    values = [noise.gauss(0.2 * (8 <= place < 16), 0.01) for place in range(24)]
    points = change_points([Sample(values, [0.0] * 24, list(map(str, range(24))))])[0]
    assert [point.index for point in points] == [8, 16]
    assert all(point.p_value < 0.001 for point in points)


@pytest.mark.parametrize("places", [(0,), (10,), (19,), (3, 4), (18, 19), (2, 9, 15)])
def test_disturbed_runs_are_no_move(places):
    """Runs that are off, one or two together or the last ones, split nothing."""
    noise = random.Random(2)
    values = [noise.gauss(0.0, 0.01) for _ in range(20)]
    for place in places:
        values[place] = 0.5
    assert change_points([Sample(values, [0.0] * 20, list(map(str, range(20))))]) == [[]]


def test_runs_of_one_code_are_not_split():
    """A move lies between two codes, however much runs of one code differ."""
    values = [0.0, 0.001] * 4 + [1.0, 1.001] * 4
    codes = ["a"] * 6 + ["b"] * 4 + ["c"] * 6
    found = change_points([Sample(values, [0.0] * 16, codes)])[0]
    assert found
    assert all(point.index in (6, 10) for point in found)
    assert change_points([Sample(values, [0.0] * 16, ["a"] * 16)]) == [[]]


def test_noise_within_a_run_counts():
    """Last runs whose own steps differ much prove nothing."""
    values = [0.0, 0.001, 0.0, 0.001, 0.0, 0.001, 0.1, 0.101, 0.1]
    codes = list("abcdefghi")
    assert [each.index for each in change_points([Sample(values, [0.0] * 9, codes)])[0]] == [6]
    assert change_points([Sample(values, [0.0] * 6 + [0.3] * 3, codes)]) == [[]]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_runs_prove_nothing(count):
    """Five runs are too few, even of numbers that never differ otherwise."""
    values, codes = [0.0, 0.0, 0.0, 9.0, 9.0][:count], list("abcde")[:count]
    assert change_points([Sample(values, [0.0] * count, codes)]) == [[]]
    assert change_points([]) == []
