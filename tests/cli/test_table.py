"""`rmmbench table`: what it says of a run, and that it fits the page."""

import json
import sys
from itertools import count

import pytest
from rich.console import Console

from rmmbench.cli import main
from rmmbench.cli.drawn import print_tables
from rmmbench.report.tables import tables_of
from rmmbench.results.counts import Counts
from rmmbench.results.gradient_error import GradientError
from rmmbench.units import GIB, MIB

GAUSSIAN = {"method": "rmm", "sketch": "gaussian", "rho": 0.5, "share": False}


@pytest.fixture
def table(monkeypatch, capsys):
    """Run `rmmbench table` with arguments; return its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "table", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        return raised.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def cells(make_run):
    """Return the table of some records as its columns' cells by heading."""
    numbers = count()

    def make(*records):
        run = make_run(*records, name=f"run{next(numbers)}")
        (table,) = tables_of(run).tables
        return {column.heading.replace("\n", " "): list(column.cells) for column in table.shown}

    return make


def test_published_beside_measured(cells, make_record):
    """GiB and saving stand beside what the paper has for the same case."""
    assert cells(make_record(peak=11 * GIB), make_record(peak=10 * GIB, **GAUSSIAN)) == {
        "batch×length": ["16×103", ""],
        "sketch": ["exact", "gaussian"],
        "ρ": ["", "0.5"],
        "peak GiB": ["11.00", "10.00"],
        "paper's GiB": ["11.3", "10.6"],
        "saved": ["", "9.1 %"],
        "paper's saved": ["", "6.3 %"],
    }


def test_times(cells, make_record):
    """Where steps were timed, relative throughput and samples a second are there; no memory."""
    timed = {"peak": None, "task": None, "step_seconds": (0.5,) * 3}
    rmm = {"reference_step_seconds": (0.39, 0.4, 0.41), **GAUSSIAN}
    assert cells(make_record(**timed), make_record(**timed, **rmm)) == {
        "batch×length": ["16×103", ""],
        "sketch": ["exact", "gaussian"],
        "ρ": ["", "0.5"],
        "relative throughput": ["1.000", "0.800"],
        "95 % interval": ["", "0.75–0.85"],
        "samples/s": ["32.0", "32.0"],
    }


def test_small_memory(cells, make_record):
    """Where no peak reaches 1 GiB and nothing is published, memory is in MiB."""
    seen = cells(make_record(peak=50 * MIB, task=None))
    assert seen["peak MiB"] == ["50.0"]


def test_three_numbers_of_memory_are_named(cells, table, make_run, make_record):
    """Where it is known what is reserved, live and allocated stand beside it, each by its name."""
    known = make_record(peak=10 * GIB, reserved=11 * GIB, task=None)
    live = known.memory.model_copy(update={"peak_live_bytes": 9 * GIB})
    known = known.model_copy(update={"memory": live})
    old = make_record(peak=8 * GIB, task=None, **GAUSSIAN)
    seen = cells(known, old)
    assert seen["live GiB"] == ["9.00", "8.00"]
    assert seen["allocated GiB"] == ["10.00", "8.00"]
    assert seen["reserved GiB"] == ["11.00", ""]
    assert seen["saved"] == ["", "20.0 %"]
    assert "peak GiB" not in seen
    said = " ".join(table(make_run(known, old, name="both").path)[1].split())
    assert said.count("nvidia-smi shows more: the process's CUDA context too, about 0.3 to") == 1
    assert "nvidia-smi" not in table(make_run(old, name="old").path)[1]


def test_counts_are_shown_on_request(table, make_run, make_record):
    """A table of its own has what was counted beside exact's; programs always have the numbers."""
    some = Counts(flops=2 * 10**12, moved_bytes=GIB, operator_calls=1_000)
    more = Counts(flops=3 * 10**12, moved_bytes=2 * GIB, operator_calls=1_500)
    run = make_run(make_record(counts=some), make_record(counts=more, **GAUSSIAN))
    assert "TFLOP" not in table(run.path)[1]
    code, out, _ = table(run.path, "--counts")
    (line,) = [each.split() for each in out.splitlines() if "TFLOP" in each]
    assert line[-6:] == ["TFLOP", "exact's", "GiB", "exact's", "calls", "exact's"]
    rows = [each.split() for each in out.splitlines() if "1,000" in each or "1,500" in each]
    assert code == 0
    assert rows == [
        ["16×103", "exact", "2.00", "1.00", "1,000"],
        ["gaussian", "0.5", "3.00", "1.500", "2.00", "2.000", "1,500", "1.500"],
    ]
    assert "is no time" in " ".join(out.split())
    steps = json.loads(table(run.path, "--json")[1])[0]["rows"]
    assert [row["flops"] for row in steps] == [2 * 10**12, 3 * 10**12]
    assert [row["relative_operator_calls"] for row in steps] == [1.0, 1.5]


def test_without_counts_the_request_is_refused(table, make_run, make_record):
    """It is told where work is counted."""
    code, _, err = table(make_run(make_record()).path, "--counts")
    assert code == 2
    assert "must have counted work to show, and has none; work is counted where memory" in err


def test_failures_show_their_outcome(cells, make_record):
    """A case that failed says how, where its first number would be."""
    timed = {"peak": None, "step_seconds": (1.0,)}
    seen = cells(
        make_record(),
        make_record(outcome="out_of_memory", **GAUSSIAN),
        make_record(batch_size=32, **timed),
        make_record(batch_size=32, outcome="timeout", **GAUSSIAN, **timed),
    )
    assert seen["peak GiB"] == ["10.00", "out of memory", "", ""]
    assert seen["relative throughput"] == ["", "", "1.000", "timeout"]


def test_order(cells, make_record):
    """Cells go by size and exact comes first, however the cases came in."""
    seen = cells(
        make_record(batch_size=32, method="rmm", sketch="dct", rho=0.1),
        make_record(batch_size=8),
        make_record(batch_size=32, method="rmm", sketch="dct", rho=0.5),
        make_record(batch_size=32),
    )
    assert seen["batch×length"] == ["8×103", "32×103", "", ""]
    assert seen["sketch"] == ["exact", "exact", "dct", "dct"]
    assert seen["ρ"] == ["", "", "0.5", "0.1"]


def test_what_differs_is_told(cells, make_record):
    """Models, tasks, dtypes, fixed sizes and limits are columns or names where they differ."""
    seen = cells(make_record(), make_record(task="cola", seq_len=47))
    assert seen["task"] == ["MRPC", "CoLA"]
    seen = cells(make_record(), make_record(model="mlp", task=None, seq_len=None, dtype="bfloat16"))
    assert seen["model"] == ["roberta-tiny", "mlp"]
    seen = cells(make_record(**GAUSSIAN), make_record(**GAUSSIAN, min_proj_dim=64))
    assert seen["sketch"] == ["gaussian proj_dim≥1", "gaussian proj_dim≥64"]
    seen = cells(make_record(**GAUSSIAN), make_record(**GAUSSIAN, block_rows=103))
    assert seen["sketch"] == ["gaussian", "gaussian, blocks of 103"]
    seen = cells(make_record(method="rmm", sketch="dct", proj_dim=64))
    assert seen["proj_dim"] == ["64"]


def test_the_papers_choice_beside_ours(cells, make_record):
    """Two choices in one cell say in what they differ, and what is published is of the paper's."""
    ours = {"method": "rmm", "sketch": "gaussian", "rho": 0.5, "where": "beneficial"}
    seen = cells(make_record(), make_record(**GAUSSIAN), make_record(peak=9 * GIB, **ours))
    assert seen["sketch"] == ["exact", "gaussian, unshared", "gaussian, beneficial layers"]
    assert seen["paper's GiB"] == ["11.3", "10.6", ""]
    assert seen["paper's saved"] == ["", "6.3 %", ""]


def test_a_sketch_alone_has_a_column_of_its_own(cells, make_record):
    """What a projection gains on a product is not called the throughput of anything."""
    timed = {"peak": None, "task": None, "seq_len": None, "model": "linear:8x4"}
    timed |= {"time_device": None, "projection_device": "cpu"}
    rmm = {"step_seconds": (0.1,) * 3, "reference_step_seconds": (0.4,) * 3, **GAUSSIAN}
    seen = cells(make_record(step_seconds=(0.4,) * 3, **timed), make_record(**timed, **rmm))
    assert seen["product ÷ sketch"] == ["1.000", "4.000"]
    assert "relative throughput" not in seen


def test_command(table, make_run, make_record):
    """The command prints the table and where its numbers are from, and why a case failed."""
    run = make_run(make_record(), make_record(outcome="error", **GAUSSIAN))
    code, out, err = table(run.path)
    assert code == 0
    assert "exact" in out
    assert "error" in out
    assert "roberta-tiny · MRPC · 16×103 · adam · eager attention" in out
    assert "Memory predicted on fake tensors with torch 2.13.0+cpu, float32." in out
    assert "The paper's numbers: Table 3, left." in out
    assert err == "error: roberta-tiny 16×103 gaussian, unshared ρ=0.5: it was told to fail\n"


def test_fits_a_pipe(table, make_run, make_record):
    """Into a pipe the widest table goes without colour, and without breaking a cell."""
    timed = {"step_seconds": (0.001,) * 3, "reference_step_seconds": (0.001,) * 3}
    run = make_run(
        *(
            make_record(task=task, method=method, sketch=sketch, rho=rho, **timed)
            for task in ("mrpc", "cola")
            for method, sketch, rho in (("exact", None, None), ("rmm", "rademacher", 0.05))
        )
    )
    out = table(run.path)[1]
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 100
    assert "rademacher" in out
    assert "16,000" in out


def test_with_gradient_errors_it_is_wider(table, make_run, make_record):
    """Names of methods are whole beside one more column."""
    timed = {"step_seconds": (0.001,) * 3, "reference_step_seconds": (0.001,) * 3}
    gradient = GradientError(device="cpu", errors=(0.00701, 0.00707), mean_error=0.005)
    methods = ("exact", "selective-checkpoint", "checkpoint-attention")
    made = [make_record(method=method, **timed) for method in methods]
    run = make_run(*(record.model_copy(update={"gradient": gradient}) for record in made))
    out = table(run.path)[1]
    assert max(map(len, out.splitlines())) <= 120
    assert all(method in out for method in methods)
    assert "0.00704 ± 0.00004" in out


def test_names_are_no_markup(table, make_run, make_record):
    """A model whose name looks like markup is printed as it is."""
    run = make_run(make_record(model="hf:[red]x"), make_record(model="mlp", task=None))
    assert "hf:[red]x" in table(run.path)[1]


def test_tables_go_to_a_console_too(make_run, make_record):
    """Other commands print the same table to a console of theirs."""
    console = Console(record=True, width=100, quiet=False, file=sys.stderr)
    print_tables(tables_of(make_run(make_record())).tables, console)
    assert "exact" in console.export_text()


def test_no_records(table, make_run):
    """A run without records is refused in one line."""
    path = make_run(name="empty").path
    assert table(path) == (
        2,
        "",
        f"error: {path} must have records to show, and has none; run its sweep first\n",
    )
