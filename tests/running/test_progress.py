"""How far a run is: the estimate, and what is shown where."""

import io

import pytest
from rich.console import Console

from rmmbench.running import progress
from rmmbench.running.events import Finished, Started, Working
from rmmbench.running.progress import Estimate, draws, show_progress


@pytest.fixture
def records(make_record):
    """Return a record of each kind: predicted, timed, too large, and failed."""
    probe = {"memory_limit_bytes": 2**30}
    return [
        make_record(),
        make_record(peak=None, step_seconds=(0.5,)),
        make_record(outcome="error"),
        make_record(batch_size=1, **probe),
        make_record(batch_size=2, outcome="out_of_memory", **probe),
    ]


def happened(records):
    """Yield what a launcher tells of cases that end one after the other."""
    for record in records:
        yield Started(record.case)
        yield Working([(record.case, "timing steps")])
        yield Finished(record)


@pytest.mark.parametrize("of", ["a run", "a search"])
def test_without_a_terminal_each_case_is_a_line(records, capsys, of):
    """Where no bar can be seen, a line a case says what came of it; stdout stays empty."""
    show_progress(happened(records), [record.case for record in records] if of == "a run" else None)
    out, err = capsys.readouterr()
    told = [line.split(": ", 1)[1].rsplit(" (", 1)[0] for line in err.splitlines()]
    assert told == [
        "10.00 GiB",
        "32 samples/s",
        "error",
        "10.00 GiB, fits",
        "does not fit",
    ]
    assert out == ""


def test_a_terminal_gets_a_bar(records, capsys, monkeypatch):
    """A terminal sees how many are done, and what is left."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    show_progress(happened(records[:2]), [record.case for record in records[:2]])
    out, err = capsys.readouterr()
    assert "2/2" in err
    assert "10.00 GiB" not in err
    assert out == ""


@pytest.mark.parametrize("has_widgets", [True, False])
def test_a_notebook_gets_a_bar_if_it_has_widgets(monkeypatch, has_widgets):
    """A notebook is no terminal, but draws bars too; without widgets it gets lines."""
    monkeypatch.setattr(progress, "find_spec", lambda name: "found" if has_widgets else None)
    assert draws(Console(file=io.StringIO(), force_jupyter=True)) is has_widgets
    assert not draws(Console(file=io.StringIO(), force_jupyter=False))


class TestEstimate:
    """How long what is left will take."""

    @pytest.fixture
    def clock(self, monkeypatch):
        """Set the clock by hand."""
        now = [0.0]
        monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
        return now

    @pytest.fixture
    def cases(self, make_record):
        """Return records of three small cases and three large ones, a second and ten each."""

        def timed(size, rho, seconds):
            record = make_record(batch_size=size, method="rmm", sketch="dct", rho=rho)
            return record.model_copy(update={"wall_seconds": seconds})

        sizes = [(8, 1.0), (64, 10.0)]
        return [timed(size, rho, s) for size, s in sizes for rho in (0.5, 0.2, 0.1)]

    def test_nothing_is_known_before_the_first(self, cases, clock):
        """Before a case is done there is no estimate."""
        assert Estimate([record.case for record in cases]).seconds_left() is None

    def test_cases_take_as_long_as_their_like(self, cases, clock):
        """Once one of each kind is done, each case that is left counts as its own kind."""
        estimate = Estimate([record.case for record in cases])
        clock[0] = 1.0
        estimate.finish(cases[0])
        assert estimate.seconds_left() == pytest.approx(5 * 1.0)
        clock[0] = 11.0
        estimate.finish(cases[3])
        assert estimate.seconds_left() == pytest.approx(2 * 1.0 + 2 * 10.0)

    def test_cases_side_by_side_take_less_than_their_sum(self, cases, clock):
        """Two at a time, what is left takes half as long."""
        estimate = Estimate([record.case for record in cases])
        clock[0] = 5.5
        estimate.finish(cases[0])
        estimate.finish(cases[3])
        assert estimate.seconds_left() == pytest.approx((2 * 1.0 + 2 * 10.0) / 2)

    def test_nothing_is_left_at_the_end(self, cases, clock):
        """The last case leaves no time."""
        estimate = Estimate([record.case for record in cases])
        clock[0] = 40.0
        for record in cases:
            estimate.finish(record)
        assert estimate.seconds_left() == 0.0
