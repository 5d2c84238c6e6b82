"""What runs prove of a change: rarely too much, and all that they can.

Noise is normal, 5 % between runs of one code, as relative throughput has on a busy machine.
"""

import math
import random

import pytest

from rmmbench.report.check.evidence import Evidence, between, beyond_doubt, detectable, in_turn
from rmmbench.report.check.report import Verdict

SPREAD, TOLERANCE, CASES = 0.05, 0.05, 10
MOST_PAIRS = 60


def differences(fall, seed, spread=SPREAD, count=MOST_PAIRS):
    """The logarithms that pairs of runs would give of a code that is slower by `fall`."""
    noise = random.Random(seed)
    return [noise.gauss(math.log1p(-fall), spread * math.sqrt(2)) for _ in range(count)]


def share(verdicts, wanted):
    """How many of the verdicts are the wanted one, as a fraction."""
    return sum(verdict is wanted for verdict in verdicts) / len(verdicts)


def verdicts(fall, runs, spread=SPREAD):
    """The verdicts of cases in turn, one of `CASES` each."""
    found = (in_turn(differences(fall, seed, spread), CASES, TOLERANCE) for seed in range(runs))
    return [one.verdict(TOLERANCE) for one in found]


@pytest.mark.parametrize("spread", [0.01, SPREAD])
def test_one_code_in_turn_raises_no_alarm(spread):
    """Less than one check in a hundred fails where nothing changed, and hardly a case is open."""
    found = verdicts(0.0, 2000, spread)
    # Whole checks of ten cases fail ten times as often as cases do.
    assert CASES * share(found, Verdict.REGRESSED) < 0.01
    assert share(found, Verdict.SAME) > 0.95


@pytest.mark.parametrize(("fall", "at_least"), [(0.05, 0.85), (0.1, 0.98)])
def test_slow_down_is_found_in_turn(fall, at_least):
    """A fall of 5 % is found in 85 % of checks, one of 10 % in 98 %, by 60 pairs at the most."""
    found = verdicts(fall, 500)
    assert share(found, Verdict.REGRESSED) >= at_least
    assert share(found, Verdict.SAME) < 0.05


def test_answer_comes_as_soon_as_it_is_clear():
    """What decides is the first look that can; what is measured later changes nothing."""
    falls = differences(0.3, 0)
    first = in_turn(falls[:12], CASES, TOLERANCE)
    assert first.verdict(TOLERANCE) is Verdict.REGRESSED
    assert in_turn(falls[:12] + [1.0] * 8, CASES, TOLERANCE) == first
    assert in_turn(falls[:1], CASES, TOLERANCE) is None
    assert in_turn([0.0, 0.0], CASES, TOLERANCE).verdict(TOLERANCE) is Verdict.NOT_ENOUGH_EVIDENCE


def test_machine_that_slows_down_favours_neither():
    """A drift of 1 % a run, without noise, cancels within every block of four runs."""
    pairs = [0.01 if number % 2 else -0.01 for number in range(MOST_PAIRS)]
    found = in_turn(pairs, CASES, TOLERANCE)
    assert found.change == 0
    assert found.verdict(TOLERANCE) is Verdict.SAME


@pytest.mark.parametrize(
    ("change", "alarm", "miss", "verdict"),
    [
        (-0.10, 0.08, 0.04, Verdict.REGRESSED),
        (-0.07, 0.08, 0.04, Verdict.NOT_ENOUGH_EVIDENCE),
        (-0.02, 0.01, 0.01, Verdict.SAME),
        (0.00, 0.08, 0.04, Verdict.SAME),
        (0.00, 0.20, 0.10, Verdict.NOT_ENOUGH_EVIDENCE),
        (0.10, 0.08, 0.04, Verdict.IMPROVED),
        (0.02, 0.01, 0.01, Verdict.SAME),
        (0.07, 0.08, 0.04, Verdict.SAME),
    ],
)
def test_verdict(change, alarm, miss, verdict):
    """Surely slower and perhaps by the tolerance regressed; surely not by as much is the same."""
    assert Evidence(change, alarm, miss).verdict(TOLERANCE) is verdict


def test_excluded_fall():
    """A fall that would have been seen is told as a fraction; of a clear gain none is hidden."""
    assert Evidence(-0.02, 0.1, 0.08).excluded_fall == pytest.approx(1 - math.exp(-0.1))
    assert Evidence(0.2, 0.1, 0.08).excluded_fall == 0


def stored(fall, seed, spread, count=11):
    """What a calibrated baseline tells of one run of a code that is slower by `fall`."""
    noise = random.Random(seed)
    before = [noise.gauss(0, spread) for _ in range(count)]
    now = [noise.gauss(math.log1p(-fall), spread)]
    return before, between(before, now, 0.0, CASES)


@pytest.mark.parametrize("spread", [0.005, SPREAD])
def test_calibrated_baseline_raises_no_alarm(spread):
    """Less than one check in a hundred fails where nothing changed, whatever the spread."""
    found = [stored(0.0, seed, spread)[1].verdict(TOLERANCE) for seed in range(2000)]
    assert CASES * share(found, Verdict.REGRESSED) < 0.01


@pytest.mark.parametrize(("fall", "at_least"), [(0.05, 0.85), (0.1, 0.98)])
def test_calibrated_baseline_finds_what_its_spread_allows(fall, at_least):
    """Where runs differ by 0.7 % one run finds 5 %, and so it was foretold."""
    found = [stored(fall, seed, 0.007) for seed in range(500)]
    assert share([one.verdict(TOLERANCE) for _, one in found], Verdict.REGRESSED) >= at_least
    foretold = sorted(detectable(before, CASES) for before, _ in found)[250]
    assert foretold < 0.05


def test_calibrated_baseline_says_what_it_cannot_tell():
    """Where runs differ by 5 % a fall of 5 % is hardly ever called the same."""
    found = [stored(0.05, seed, SPREAD)[1] for seed in range(500)]
    names = [one.verdict(TOLERANCE) for one in found]
    assert share(names, Verdict.SAME) < 0.08
    assert share(names, Verdict.NOT_ENOUGH_EVIDENCE) > 0.85
    assert sum(one.excluded_fall for one in found) / 500 > 0.1


def test_steps_that_vary_more_than_runs_count():
    """A run whose own steps vary is no better known than they tell."""
    before = [0.001 * (-1) ** number for number in range(11)]
    assert between(before, [-0.1], 0.0, CASES).verdict(TOLERANCE) is Verdict.REGRESSED
    assert between(before, [-0.1], 0.002, CASES) == between(before, [-0.1], 0.0, CASES)
    unsteady = between(before, [-0.1], 0.08, CASES)
    assert unsteady.verdict(TOLERANCE) is Verdict.NOT_ENOUGH_EVIDENCE


@pytest.mark.parametrize(
    ("change", "verdict"),
    [(-0.5, Verdict.REGRESSED), (-0.2, Verdict.NOT_ENOUGH_EVIDENCE), (0.15, Verdict.SAME)],
)
def test_two_records_alone(change, verdict):
    """Two runs prove only what no two runs of one code differ by."""
    assert beyond_doubt(change, (0.01, 0.01), CASES, TOLERANCE).verdict(TOLERANCE) is verdict
