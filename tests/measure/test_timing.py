"""How steps are timed, on a clock that is set by hand."""

import statistics
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from rmmbench.case import TimingSettings
from rmmbench.measure import timing
from rmmbench.measure.timing import spread, time_steps


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
        warmup_steps=3, min_steps=2, max_steps=2, max_seconds=1e9
    )
    assert found.step_seconds == (2.0, 2.0)
    assert found.reference_step_seconds == (1.0, 1.0)


def test_relative_throughput_is_of_medians(lab):
    """A step twice as long is half the throughput, and one outlier changes nothing."""
    found = lab(lambda n: 90.0 if n == 4 else 4.0, lambda n: 0.1 if n == 5 else 3.0).time(
        warmup_steps=1, min_steps=7, max_steps=7, batch_size=12, max_seconds=1e9
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


@pytest.mark.parametrize(
    ("seconds", "settings", "steps"),
    [
        # Steady from the first: no more than the fewest.
        (lambda n: 1.0, {"min_steps": 5, "max_steps": 20}, 5),
        # Never steady: all there are.
        (lambda n: 1.0 + n % 2, {"min_steps": 5, "max_steps": 20}, 20),
        # Never steady, but time is up after 4 pairs of 1 + 1 or 2 + 2 seconds.
        (lambda n: 1.0 + n % 2, {"min_steps": 2, "max_steps": 20, "max_seconds": 11.0}, 4),
        # Time is up before the fewest.
        (lambda n: 1.0 + n % 2, {"min_steps": 6, "max_steps": 20, "max_seconds": 1.0}, 6),
    ],
)
def test_when_timing_ends(lab, seconds, settings, steps):
    """It goes on until all is steady or time is up, between the fewest steps and the most."""
    settings = {"warmup_steps": 1, "max_seconds": 1e9} | settings
    found = lab(seconds, seconds).time(**settings)
    assert len(found.step_seconds) == len(found.reference_step_seconds) == steps


def test_the_reference_must_be_steady_too(lab):
    """A relative throughput is as sure as the less sure of the two."""
    found = lab(exact=lambda n: 1.0 + n % 2).time(
        warmup_steps=1, min_steps=3, max_steps=9, max_seconds=1e9
    )
    assert len(found.step_seconds) == 9
    assert found.spread == spread(list(found.reference_step_seconds)) > 0


def test_spread_is_the_standard_error_of_the_median():
    """1.253 times the deviation that the quartiles tell, by √n, as a fraction of the median."""
    seconds = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert spread(seconds) == pytest.approx(1.253 * (7.0 - 3.0) / 1.349 / 3 / 5.0)
    assert spread([2.0, 2.0]) == 0.0
    assert spread([2.0]) == 1.0


def test_spread_of_normal_samples_is_as_it_says():
    """Over many draws medians scatter as the spread of one draw foretells, to a tenth."""
    normal = statistics.NormalDist(10.0, 1.0)
    draws = [normal.samples(101, seed=number) for number in range(400)]
    scatter = statistics.stdev(statistics.median(draw) for draw in draws)
    foretold = statistics.mean(spread(draw) * statistics.median(draw) for draw in draws)
    # The scatter of 400 medians is known to 3.5 %, the mean of 400 spreads to less.
    assert foretold == pytest.approx(scatter, rel=0.14)
