"""How far work is: what is shown in a terminal, in a notebook and in a log."""

import io
from itertools import pairwise

import pytest
from rich.console import Console

from rmmbench.results.stage import Stage
from rmmbench.running import display
from rmmbench.running.display import Bar, Lines, State, draws
from rmmbench.running.events import Ahead, Finished, Started, Working
from rmmbench.running.progress import show_nothing, show_progress


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
    yield Ahead([record.case for record in records])
    for record in records:
        yield Started(record.case)
        yield Working([(record.case, Stage("timing steps"))])
        yield Finished(record)


def test_a_failure_is_seen_at_once_and_the_rest_at_intervals(records, capsys):
    """Without a terminal what failed is a line; what went well so soon is none; stdout is empty."""
    show_progress(happened(records))
    out, err = capsys.readouterr()
    assert err == "0:00:00  roberta-tiny 16×103 exact: error (0 µs)\n"
    assert out == ""


def test_what_came_of_each_case_is_told(records, capsys, monkeypatch):
    """A line has how many are done, and what came of the last one."""
    monkeypatch.setattr(display, "_LINE_SECONDS", (0.0, 0.0))
    show_progress(happened(records), "probe")
    err = capsys.readouterr().err
    for count, told in enumerate(
        ["10.00 GiB", "32 samples/s", "error", "10.00 GiB, fits", "does not fit"], start=1
    ):
        assert any(
            f"{count} of 5 probes" in line and f": {told} (" in line for line in err.splitlines()
        )
    assert "  5 of 5 probes: " in err.splitlines()[-1]


def test_lines_come_ever_more_seldom(clock):
    """Ten hours of steps are some dozens of lines, and never five minutes without one."""
    stream = io.StringIO()
    lines = Lines(stream, clock)
    for second in range(36_000):
        clock.now = float(second)
        lines.show(State(second, 36_000, "step", "training", ends_at=36_000.0))
    lines.end()
    told = stream.getvalue().splitlines()
    assert 100 < len(told) < 200
    assert told[0] == "0:00:10  10 of 36000 steps, about 10 h left: training"
    assert told[-1] == "9:59:59  35999 of 36000 steps"
    clocks = [[int(part) for part in line[:7].split(":")] for line in told]
    seconds = [(60 * hours + minutes) * 60 + rest for hours, minutes, rest in clocks]
    assert max(after - before for before, after in pairwise(seconds)) <= 300


def test_a_terminal_gets_a_bar(records, capsys, monkeypatch):
    """A terminal sees how many are done, and what is left."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    show_progress(happened(records[:2]))
    out, err = capsys.readouterr()
    assert "2 of 2 cases" in err
    assert "━" in err
    assert out == ""


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_bar_is_one_line_of_what_the_terminal_has(clock, width, encoding):
    """In a narrow terminal, and in one without Greek, a bar is one line that says what is left."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
    console = Console(file=stream, force_terminal=True, width=width, height=5)
    with Bar(console, clock) as bar:
        doing = "roberta-base 24×128 oporp ρ=0.1: timing steps, and more of it"
        bar.show(State(3, 12, "case", doing, ends_at=750.0))
        bar.tell("hf:ρ\x1b[31m: error")
    text = raw.getvalue().decode(encoding)
    assert "\x1b[31m" not in text
    last = Console(file=io.StringIO(), width=width).render_str(text.splitlines()[-1])
    plain = "".join(part for part in str(last) if part.isprintable())
    assert "3 of 12 cases" in text
    assert width < 60 or "about 12 min left" in text
    assert len(plain) <= width + 20  # some of it moves the cursor


def test_nothing_is_shown_if_nobody_wants_it(records, capsys):
    """Quiet is quiet, and all that happens still happens."""
    show_nothing(happened(records))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("has_widgets", [True, False])
def test_a_notebook_gets_a_bar_if_it_has_widgets(monkeypatch, has_widgets):
    """A notebook is no terminal, but draws bars too; without widgets it gets lines."""
    monkeypatch.setattr(display, "find_spec", lambda name: "found" if has_widgets else None)
    assert draws(Console(file=io.StringIO(), force_jupyter=True)) is has_widgets
    assert not draws(Console(file=io.StringIO(), force_jupyter=False))


@pytest.mark.parametrize(
    ("ends_at", "at_most", "told"),
    [
        (None, None, ""),
        (3.0, None, "about 5 s left"),
        (42.0, None, "about 40 s left"),
        (750.0, None, "about 12 min left"),
        (9_000.0, 36_000.0, "about 2.5 h left, at most 10 h"),
        (900.0, 60.0, "about 15 min left"),
    ],
)
def test_an_estimate_is_as_exact_as_it_is_good(ends_at, at_most, told):
    """No estimate has seconds where minutes are meant, and none says nothing."""
    assert State(1, 2, "case", ends_at=ends_at, at_most=at_most).left(0.0) == told
