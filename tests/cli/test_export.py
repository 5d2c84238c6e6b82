"""`rmmbench export`: one row a case, for other programs."""

import csv
import io
import json
import os
import subprocess
import sys
from typing import get_args

import pandas as pd
import pytest

from rmmbench.cli import main
from rmmbench.cli.export_command import Format
from rmmbench.results.record import Conditions
from rmmbench.units import GIB

FIRST = [
    *("model", "device", "task", "batch_size", "seq_len", "dtype", "method", "sketch", "rho"),
    *("outcome", "peak_allocated_bytes", "saved_bytes", "samples_per_second"),
    "relative_throughput",
]


@pytest.fixture
def export(monkeypatch, capsys):
    """Run `rmmbench export` with arguments; return its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        return raised.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def run(make_run, make_record):
    """Three cases: one whole, one out of memory with an awkward reason, one without a length."""
    timed = {"step_seconds": (0.1, 0.3, 0.2), "reference_step_seconds": (0.5,) * 3}
    failed = make_record(outcome="out_of_memory", batch_size=64)
    return make_run(
        make_record(peak=3 * GIB + 1, **timed, method="rmm", sketch="dct", rho=0.1),
        failed.model_copy(update={"reason": 'no "room" for a | b,\nor c'}),
        make_record(model="mlp", task=None, seq_len=None),
    )


def read(text, file_format):
    """Return the rows of a text format as dictionaries of what stands there."""
    if file_format == "json":
        return json.loads(text, parse_constant=pytest.fail)
    if file_format == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    cells = [line.replace("\\|", "¦").strip("|\n").split("|") for line in text.splitlines()]
    names, _, *rows = [[cell.strip().replace("¦", "|") for cell in line] for line in cells]
    return [dict(zip(names, row, strict=True)) for row in rows]


@pytest.mark.parametrize("file_format", ["csv", "json", "markdown"])
def test_text(export, run, file_format):
    """A text format has a row a case, the stable columns first and all the others behind."""
    code, out, err = export(run.path, "--format", file_format)
    rows = read(out, file_format)
    missing = None if file_format == "json" else ""
    assert (code, err) == (0, "")
    assert [list(row)[: len(FIRST)] for row in rows] == [FIRST] * 3
    assert {"key", "reason", "saving", "gpu", "torch"} <= set(rows[0])
    assert [row["model"] for row in rows] == ["roberta-tiny", "roberta-tiny", "mlp"]
    assert str(rows[0]["peak_allocated_bytes"]) == str(3 * GIB + 1)
    assert rows[1]["peak_allocated_bytes"] == missing
    assert rows[2]["seq_len"] == rows[2]["task"] == missing
    assert float(rows[0]["relative_throughput"]) == 2.5
    assert float(rows[0]["rho"]) == 0.1
    assert [row["outcome"] for row in rows] == ["ok", "out_of_memory", "ok"]


@pytest.mark.parametrize("file_format", ["csv", "json", "markdown"])
def test_missing_is_never_a_word_or_zero(export, run, file_format):
    """What is missing is empty or null: no NaN, no NA, no None, and no 0."""
    rows = read(export(run.path, "--format", file_format)[1], file_format)
    empty = [value for row in rows for value in row.values() if value in ("", None)]
    assert len(empty) > 30
    seedless = [value for row in rows for name, value in row.items() if name != "seed"]
    words = {str(value).lower() for value in seedless if value is not None}
    assert not words & {"nan", "<na>", "na", "none", "null", "0"}
    assert [row["saved_bytes"] for row in rows if row["outcome"] != "ok"] in ([""], [None])


def test_json_types(export, run):
    """JSON has integers as integers, fractions in full precision, and text as it was."""
    first, failed, _ = json.loads(export(run.path, "--format", "json")[1])
    assert type(first["batch_size"]) is type(first["peak_allocated_bytes"]) is int
    assert first["samples_per_second"] == 16 / 0.2
    assert failed["reason"] == 'no "room" for a | b, or c'


def test_awkward_text_stays_in_its_cell(export, run):
    """Quotes, bars and line breaks in a reason break neither CSV nor Markdown."""
    assert read(export(run.path)[1], "csv")[1]["reason"] == 'no "room" for a | b, or c'
    markdown = export(run.path, "--format", "markdown")[1]
    assert read(markdown, "markdown")[1]["reason"] == 'no "room" for a | b, or c'
    assert markdown.count("\n") == 5


@pytest.mark.parametrize("sign", "=+-@")
def test_no_text_is_a_formula(export, make_run, make_record, sign):
    """A spreadsheet takes no cell of text for a formula; numbers below zero stay numbers."""
    failed = make_record(outcome="error", batch_size=64)
    failed = failed.model_copy(update={"reason": f"{sign}1+1"})
    larger = make_record(peak=15 * GIB, method="rmm", sketch="dct", rho=0.5)
    rows = read(export(make_run(make_record(), failed, larger).path)[1], "csv")
    assert [row["reason"] for row in rows] == ["", f"'{sign}1+1", ""]
    assert float(rows[2]["saving"]) == -0.5


def test_markdown_shows_text_as_it_is(export, make_run, make_record):
    """Nothing in a cell of Markdown is a tag, a mark or a formula."""
    failed = make_record(outcome="error").model_copy(update={"reason": "<b>*no* $x$ `y` out_of"})
    out = export(make_run(failed).path, "--format", "markdown")[1]
    assert r"&lt;b>\*no\* \$x\$ \`y\` out_of" in out


def test_parquet(export, run, tmp_path):
    """Parquet keeps the types: nullable integers, fractions and text."""
    path = tmp_path / "new" / "run.parquet"
    assert export(run.path, "--format", "parquet", "--out", path) == (0, "", "")
    table = pd.read_parquet(path)
    assert list(table.columns[: len(FIRST)]) == FIRST
    assert table["peak_allocated_bytes"].dtype == "Int64"
    assert table["rho"].dtype == "Float64"
    assert table["peak_allocated_bytes"].isna().tolist() == [False, True, False]


def test_types_do_not_depend_on_the_run(export, run, make_run, make_record, tmp_path):
    """Two runs have the same columns of the same types, whatever is missing in one of them."""
    other = make_run(make_record(outcome="error"), name="other")
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for each, path in zip((run, other), paths, strict=True):
        export(each.path, "--format", "parquet", "--out", path)
    one, two = (pd.read_parquet(path).dtypes for path in paths)
    assert one.equals(two)


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        (None, ""),
        (Conditions(throttle_reasons=()), "none"),
        (Conditions(throttle_reasons=("a", "b")), "a;b"),
    ],
)
def test_throttle_reasons(export, make_run, make_record, conditions, text):
    """No throttling is told apart from not knowing of any."""
    record = make_record().model_copy(update={"conditions": conditions})
    rows = read(export(make_run(record).path)[1], "csv")
    assert rows[0]["throttle_reasons"] == text


def test_choices_are_columns(export, make_run, make_record):
    """Which layers, sharing and blocks are columns that a program can sort by."""
    rmm = {"method": "rmm", "sketch": "gaussian", "rho": 0.5}
    run = make_run(make_record(**rmm), make_record(**rmm, where="beneficial", share=False))
    rows = json.loads(export(run.path, "--format", "json")[1])
    assert [(row["where"], row["share"], row["block_rows"]) for row in rows] == [
        ("all", True, None),
        ("beneficial", False, None),
    ]


def test_training_is_columns(export, make_run, make_trained, tmp_path):
    """A training run has its score, losses and time as numbers; one without a score has none."""
    run = make_run(
        make_trained(0.5, 0.75), make_trained(None, seed=1), make_trained(outcome="error")
    )
    names = ("seed", "metric", "higher_is_better", "score", "train_loss", "train_steps")
    first, second = json.loads(export(run.path, "--format", "json")[1])
    assert [second[name] for name in names] == [1, "accuracy", True, None, 1.0, 20]
    # The case was tried again and failed, so that it has none either.
    assert [first[name] for name in names] == [0, None, None, None, None, None]
    path = tmp_path / "run.parquet"
    export(run.path, "--format", "parquet", "--out", path)
    types = pd.read_parquet(path).dtypes
    assert (types["score"], types["train_steps"]) == ("Float64", "Int64")
    assert (types["higher_is_better"], types["metric"]) == ("boolean", "string")


def test_scores_are_in_full(export, make_run, make_trained):
    """The score that counts is that of the last evaluation, as a fraction."""
    (row,) = read(export(make_run(make_trained(0.5, 0.75)).path)[1], "csv")
    names = ("score", "eval_loss", "train_seconds", "train_samples_per_second")
    assert [float(row[name]) for name in names] == [0.75, 1.25, 10.0, 32.0]


def test_a_case_measured_again_is_one_row(export, make_run, make_record):
    """Of two records of one case the last is exported."""
    run = make_run(make_record(outcome="timeout"), make_record())
    assert [row["outcome"] for row in read(export(run.path)[1], "csv")] == ["ok"]


def test_nothing_saved_of_nothing(export, make_run, make_record):
    """Where exact keeps nothing there is no share of it to save, and no NaN."""
    run = make_run(make_record(saved=0), make_record(saved=8, method="rmm", rho=0.5))
    rows = json.loads(export(run.path, "--format", "json")[1])
    assert [row["saved_bytes_saving"] for row in rows] == [None, None]


def test_out(export, run, tmp_path):
    """--out gets what stdout would."""
    path = tmp_path / "run.csv"
    assert export(run.path, "--out", path) == (0, "", "")
    assert path.read_text(encoding="utf-8") == export(run.path)[1]


def test_parquet_needs_a_file(export, run):
    """Parquet does not go to a terminal."""
    assert export(run.path, "--format", "parquet") == (
        2,
        "",
        "error: --format parquet is not text and needs a file; give --out\n",
    )


def test_no_pyarrow(run):
    """Without pyarrow text is written, and for Parquet the error names the extra that brings it."""
    program = (
        "import sys\nsys.modules['pyarrow'] = None\n"
        f"sys.argv = ['rmmbench', 'export', {str(run.path)!r}, *sys.argv[1:]]\n"
        "from rmmbench.cli import main\nmain()"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True).startswith("model,device,task")
    parquet = [*command, "--format", "parquet", "--out", run.path / "x.parquet"]
    ended = subprocess.run(parquet, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr == (
        "error: --format parquet needs the package pyarrow; pip install 'rmmbench[parquet]'\n"
    )


@pytest.mark.parametrize("file_format", get_args(Format))
def test_no_records(export, make_run, tmp_path, file_format):
    """A run without records is refused, and nothing is written."""
    path = make_run(name="empty").path
    out = tmp_path / "x"
    assert export(path, "--format", file_format, "--out", out) == (
        2,
        "",
        f"error: {path} must have records to export, and has none; run its sweep first\n",
    )
    assert not out.exists()


def test_unknown_format(export, run):
    """A format that is none is refused with those there are."""
    code, out, err = export(run.path, "--format", "xml")
    assert (code, out) == (2, "")
    assert "--format must be one of csv, json, markdown, parquet, github-action-benchmark," in err
    assert "bencher, got 'xml'; see `" in err


@pytest.mark.skipif(os.name != "posix", reason="/dev/full is not everywhere")
def test_a_full_disk(export, run):
    """A file that cannot be written is named, with the system's reason."""
    code, _, err = export(run.path, "--out", "/dev/full")
    assert code == 2
    assert err == "error: --out /dev/full cannot be written: No space left on device\n"
