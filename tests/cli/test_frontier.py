"""`rmmbench frontier`: its table, its figure, which runs go together, and what it refuses."""

import sys
from pathlib import Path

import pytest

from rmmbench.cli import main
from rmmbench.report.figures import FigureData
from rmmbench.report.tables.frontier_table import frontier_tables
from rmmbench.results.gradient_error import GradientError
from rmmbench.units import GIB

OPORP = {"method": "rmm", "sketch": "oporp", "rho": 0.1}
STACK = OPORP | {"method": "rmm+fewbit-activation", "activation_bits": 3}
LIMIT = {"memory_limit_bytes": 16 * GIB, "memory_device": "predict"}


def drawn_of(run):
    """Return where the figure of a run is drawn, in the working directory of the test."""
    return Path("runs") / f"{run.path.name}-figures" / "frontier.html"


@pytest.fixture
def frontier(monkeypatch, capsys, tmp_path):
    """Run `rmmbench frontier` with arguments; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "frontier", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        return raised.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def measured(make_record):
    """Records of one cell: exact, checkpointing, a sketch, a stack, and one that was skipped."""

    def case(peak, ratio, error=None, **settings):
        steps = {"step_seconds": (1 / ratio,) * 3}
        if "method" in settings:
            steps["reference_step_seconds"] = (0.99, 1.0, 1.01)
        record = make_record(peak=peak * GIB, saved=peak * GIB // 2, **steps, **settings)
        if error is None:
            return record
        gradient = GradientError(device="cpu", errors=(error, 1.1 * error), mean_error=error)
        return record.model_copy(update={"gradient": gradient})

    def make(**settings):
        return [
            case(10, 1.0, **settings),
            case(2, 0.6, 0.0, method="checkpoint", **settings),
            case(8, 1.2, 2.0, **OPORP, **settings),
            case(9, 0.5, 2.0, **STACK, **settings),
            make_record(outcome="skipped", step_seconds=(1.0,), method="compile", **settings),
        ]

    return make


@pytest.fixture
def predicted(make_record):
    """Peaks of one cell, and two searches for the largest batch."""
    return [
        make_record(peak=10 * GIB),
        make_record(peak=8 * GIB, **OPORP),
        make_record(peak=4 * GIB, method="quantize", bits=8),
        *(make_record(batch_size=size, **LIMIT) for size in (8, 20)),
        make_record(batch_size=30, **OPORP, **LIMIT),
    ]


def test_columns(make_run, measured):
    """A row has memory, speed and gradient error, whether none beats it, and its side."""
    (table,) = frontier_tables(FigureData.of(make_run(*measured())))
    assert table.values("method")[-1] == "compile"
    assert {each.heading.replace("\n", " "): list(each.cells) for each in table.shown} == {
        "method": [
            *("exact", "oporp + fewbit-activation 3 bits ρ=0.1", "oporp ρ=0.1"),
            *("checkpoint", "compile"),
        ],
        "peak GiB": ["10.00", "9.00", "8.00", "2.00", "skipped"],
        "saved": ["", "10.0 %", "20.0 %", "80.0 %", ""],
        "kept for backward GiB": ["5.00", "4.50", "4.00", "1.00", ""],
        "95 % interval": ["", "0.49–0.51", "1.17–1.23", "0.59–0.62", ""],
        "relative throughput": ["1.000", "0.500", "1.200", "0.600", ""],
        "gradient error": ["", "2.1 ± 0.1", "2.1 ± 0.1", "0", ""],
        "no other is better": ["of exact", "", "of all", "of exact", ""],
        "line exact to checkpoint": ["", "below", "above", "", ""],
    }


def test_table_and_figure(frontier, make_run, measured):
    """The table is on stdout with what it means; a figure is drawn where one is asked for."""
    run = make_run(*measured())
    assert frontier(run.path)[0] == 0
    path = drawn_of(run)
    assert not path.exists()
    code, out, err = frontier(run.path, "--format", "html")
    assert code == 0
    assert "plotly.js" in path.read_text(encoding="utf-8")
    assert "\noporp + fewbit-activation" in out
    assert "roberta-tiny · MRPC · 16×103 · adam · eager attention\n" in out
    assert "Memory predicted on fake tensors; time measured on Golden CPU with torch" in out
    assert max(map(len, out.splitlines())) <= 120
    assert err.splitlines() == [
        "skipped: roberta-tiny 16×103 compile: it was told to fail",
        f"figure: {path}",
    ]


def test_probes_are_in_the_figure_alone(frontier, make_run, predicted):
    """The table has no row of a search for the largest batch; the figure has its bars."""
    run = make_run(*predicted)
    code, out, _ = frontier(run.path, "--format", "html")
    rows = [line for line in out.splitlines() if line.startswith(("exact", "oporp", "quantize"))]
    assert (code, len(rows)) == (0, 3)
    assert "Largest batch in 16.00 GiB" in drawn_of(run).read_text(encoding="utf-8")


def test_several_cells(frontier, make_run, measured):
    """Each cell has a table of its own, headed by what tells it apart."""
    run = make_run(*measured(), *measured(batch_size=32))
    code, out, _ = frontier(run.path)
    assert code == 0
    assert [line.strip() for line in out.splitlines() if line.startswith("batch")] == [
        "batch 16",
        "batch 32",
    ]


def test_several_runs_are_one_figure(frontier, make_run, measured, predicted):
    """A sweep's run and a search's make one figure, in the folder of the first."""
    sweep, search = make_run(*measured(), name="a"), make_run(*predicted[3:], name="b")
    code, out, err = frontier(sweep.path, search.path, "--format", "html")
    assert code == 0
    assert "oporp ρ=0.1" in out
    assert err.endswith(f"figure: {drawn_of(sweep)}\n")
    drawn = drawn_of(sweep).read_text(encoding="utf-8")
    assert "Largest batch in 16.00 GiB" in drawn
    assert "exact to checkpoint" in drawn


@pytest.fixture
def elsewhere():
    """Change what records say of where they were made."""

    def make(records, **changes):
        return [
            record.model_copy(update={"environment": record.environment.model_copy(update=changes)})
            for record in records
        ]

    return make


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"torch": "2.12.1"},
            "runs must be of one torch to be one figure, got 2.13.0 in {}; 2.12.1",
        ),
        (
            {"processor": "Other CPU"},
            "runs must be of one processor to be one figure, got Golden CPU in {}; Other CPU",
        ),
        (
            {"torch_threads": 1},
            "runs must be of one torch_threads to be one figure, got 2 in {}; 1",
        ),
        (
            {"transformers": None},
            "runs must be of one transformers to be one figure, got 5.23.0 in",
        ),
    ],
)
def test_runs_that_do_not_go_together(frontier, make_run, measured, elsewhere, changes, message):
    """Runs of two versions or machines are refused in one line, and nothing is drawn."""
    one = make_run(*measured(), name="a")
    other = make_run(*elsewhere(measured(batch_size=32), **changes), name="b")
    code, out, err = frontier(one.path, other.path)
    assert (code, out) == (5, "")
    assert err.startswith(f"error: {message.format(one.path)}")
    assert err.count("\n") == 1
    assert not drawn_of(one).exists()


def test_a_prediction_is_of_no_machine(frontier, make_run, measured, predicted, elsewhere):
    """What was predicted on one machine stands beside what was measured on another."""
    run = make_run(*elsewhere(predicted, processor="Other CPU"), name="a")
    code, out, _ = frontier(run.path, make_run(*measured(batch_size=32), name="b").path)
    assert code == 0
    assert "measured on Golden CPU" in out


def test_builds_of_one_torch_go_together(frontier, make_run, measured, predicted, elsewhere):
    """Builds of one torch, such as 2.13.0+cpu and 2.13.0+cu130, count as one version."""
    run = make_run(*elsewhere(predicted, torch="2.13.0+cu130"), name="a")
    assert frontier(make_run(*measured(), name="b").path, run.path)[0] == 0


def test_runs_of_two_models(frontier, make_run, measured):
    """Two models are two figures."""
    one, other = make_run(*measured(), name="a"), make_run(*measured(model="gpt2"), name="b")
    code, _, err = frontier(one.path, other.path)
    assert code == 5
    assert err == (
        f"error: runs must be of one model to be one figure, got roberta-tiny in {one.path}; "
        f"gpt2 in {other.path}; draw each by itself\n"
    )


@pytest.mark.parametrize("records", [0, 1])
def test_nothing_to_compare(frontier, make_run, make_record, records):
    """A run without what the figure needs is refused in one line that says what to run."""
    run = make_run(*[make_record()][:records])
    code, out, err = frontier(run.path)
    assert (code, out) == (2, "")
    assert err == (
        f"error: {run.path} must have peak memory of exact and of two or more ways to save it in "
        "one cell, or the largest batch that fits, and has neither; "
        "run `rmmbench sweep frontier` or `rmmbench max-batch`\n"
    )


def test_out_and_format(frontier, make_run, measured, tmp_path):
    """--out is a file if it ends in a format, else a folder; one that differs is refused."""
    run, path = make_run(*measured()), tmp_path / "new" / "mine.html"
    assert frontier(run.path, "--out", path)[0] == 0
    assert path.exists()
    assert frontier(run.path, "--out", tmp_path / "folder")[0] == 0
    assert (tmp_path / "folder" / "frontier.html").exists()
    code, out, err = frontier(run.path, "--out", path, "--format", "svg")
    assert (code, out) == (2, "")
    assert err == f"error: --out must end in .svg for --format svg, got '{path}'\n"
