"""How steps are timed, on a clock that is set by hand."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from rmmbench.measures.time import turns as timing
from rmmbench.measures.time.turns import time_steps
from rmmbench.results import paired
from rmmbench.spec.measuring import TimingSettings


class Lab:
    """A step, a reference and a clock that only they move.

    Attributes:
        log: Who ran, one letter a step: m the method, e exact.
    """

    def __init__(self, method, exact):
        """Let the n-th step take method(n) seconds, or exact(n) in the reference."""
        self.now, self.log = 100.0, ""
        self._seconds = {"m": method, "e": exact}
        self._who = "m"

    def step(self):
        """Take as long as it is told."""
        number = self.log.count(self._who)
        self.log += self._who
        self.now += self._seconds[self._who](number)

    @contextmanager
    def reference(self):
        """Be exact within."""
        self._who = "e"
        yield
        self._who = "m"

    def time(self, *, reference=True, batch_size=8, **settings):
        """Time the step by this clock."""
        chosen = TimingSettings(**settings)
        return time_steps(
            self.step, batch_size, "cpu", chosen, self.reference if reference else None
        )


@pytest.fixture
def lab(monkeypatch):
    """Return a maker of laboratories whose clock is the module's."""

    def make(method=lambda n: 2.0, exact=lambda n: 1.0):
        made = Lab(method, exact)
        clock = SimpleNamespace(perf_counter=lambda: made.now, monotonic=lambda: made.now)
        monkeypatch.setattr(timing, "time", clock)
        return made

    return make


def test_turns_alternate(lab):
    """After the warm-up whoever went second goes first in the next pair."""
    made = lab()
    made.time(warmup_steps=2, min_steps=4, max_steps=4)
    assert made.log == "meme" + "meem" * 2


def test_warm_up_does_not_count(lab):
    """The first steps, as slow as they may be, are in no sample."""
    found = lab(lambda n: 50.0 if n < 3 else 2.0, lambda n: 70.0 if n < 3 else 1.0).time(
        warmup_steps=3, min_steps=2, max_steps=2, max_seconds=1e8
    )
    assert found.step_seconds == (2.0, 2.0)
    assert found.reference_step_seconds == (1.0, 1.0)


def test_one_outlier_changes_nothing(lab):
    """A step twice as long is half the throughput, and one outlier changes nothing."""
    found = lab(lambda n: 90.0 if n == 4 else 4.0, lambda n: 0.1 if n == 5 else 3.0).time(
        warmup_steps=1, min_steps=7, max_steps=7, batch_size=12, max_seconds=1e8
    )
    assert found.relative_throughput == 3.0 / 4.0
    assert found.samples_per_second == 12 / 4.0
    assert len(found.step_seconds) == len(found.reference_step_seconds) == 7
    assert max(found.step_seconds) == pytest.approx(90.0)


def test_exact_has_no_reference(lab):
    """The unchanged model is timed alone, and is as fast as itself."""
    made = lab()
    found = made.time(reference=False, warmup_steps=1, min_steps=3, max_steps=3)
    assert made.log == "mmmm"
    assert found.reference_step_seconds == ()
    assert found.relative_throughput == 1.0
    assert found.step_seconds == (2.0,) * 3


def noisy(number):
    """Return 1 or 2 seconds in turn."""
    return 1.0 + number % 2


@pytest.mark.parametrize(
    ("seconds", "settings", "steps"),
    [
        # Steady from the first: no more than the fewest, or than it takes to tell.
        (lambda n: 1.0, {"min_steps": 8, "max_steps": 20}, 8),
        (lambda n: 1.0, {"min_steps": 2, "max_steps": 20}, 6),
        (lambda n: 1.0, {"min_steps": 2, "max_steps": 4}, 4),
        # Never steady: all there are.
        (noisy, {"min_steps": 5, "max_steps": 20}, 20),
        # Never steady, but time is up after 4 pairs of 1 + 1 or 2 + 1 seconds.
        (noisy, {"min_steps": 2, "max_steps": 20, "max_seconds": 9.0}, 4),
        # Time is up before the fewest.
        (noisy, {"min_steps": 7, "max_steps": 20, "max_seconds": 1.0}, 7),
        (lambda n: 1.0, {"min_steps": 1, "max_steps": 20, "max_seconds": 1.0}, 1),
        # (3 / 2 × ln 2 / 3 ÷ 0.2)² × π / 2 = 4.7 and (… ÷ 0.1)² × π / 2 = 25.2 steps.
        (noisy, {"min_steps": 6, "max_steps": 50, "target_spread": 0.3}, 6),
        (noisy, {"min_steps": 6, "max_steps": 50, "target_spread": 0.1}, 26),
    ],
)
@pytest.mark.parametrize("who", ["method", "exact"])
def test_when_timing_ends(lab, seconds, settings, steps, who):
    """It ends when there are enough or time is up, between the fewest and the most."""
    settings = {"warmup_steps": 1, "max_seconds": 1e8} | settings
    found = lab(**{"method": lambda n: 1.0, "exact": lambda n: 1.0, who: seconds}).time(**settings)
    assert len(found.step_seconds) == len(found.reference_step_seconds) == steps


def test_what_both_have_is_no_noise(lab):
    """A machine that drifts changes both steps of a pair, and takes no more of them."""
    found = lab(lambda n: 1.0 + n, lambda n: 2.0 + 2 * n).time(
        warmup_steps=1, min_steps=3, max_steps=50, max_seconds=1e8
    )
    assert len(found.step_seconds) == 6
    assert found.relative_throughput == 2.0


def test_steps_alone_must_be_steady_themselves(lab):
    """Where nothing takes turns, it is the step's own noise that tells how many are enough."""
    found = lab(noisy).time(
        reference=False, warmup_steps=1, min_steps=3, max_steps=9, max_seconds=1e8
    )
    assert len(found.step_seconds) == 9


def test_the_interval_is_that_of_the_pairs(lab):
    """The record tells in what interval relative throughput and samples per second lie."""
    found = lab(lambda n: 2.0 + 0.1 * (n % 3)).time(
        warmup_steps=1, min_steps=9, max_steps=9, max_seconds=1e8
    )
    ratio = paired.relative_throughput(found.reference_step_seconds, found.step_seconds)
    assert (found.relative_throughput_low, found.relative_throughput_high) == (
        ratio.low,
        ratio.high,
    )
    assert found.samples_per_second_low < found.samples_per_second < found.samples_per_second_high
