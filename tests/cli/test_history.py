"""`rmmbench history`: its tables, its exit code, its files."""

import json
import sys

import pytest

from rmmbench.cli import main
from rmmbench.units import GIB

RMM = {"method": "rmm", "sketch": "dct", "rho": 0.1}


@pytest.fixture
def history(monkeypatch, capsys, tmp_path):
    """Run `rmmbench history` with arguments; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "history", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        return raised.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def runs(make_record, make_run):
    """Three runs of three commits at ./runs; the last takes 14 % more memory."""
    for index, peak in enumerate((10.0, 10.0, 11.4)):
        changes = {"commit": f"{index}" * 40, "transformers": f"5.{index}"}
        of = make_record().environment.model_copy(update=changes)
        record = make_record(peak=int(peak * GIB), environment=of, **RMM)
        made = make_run(record, name=f"runs/{index}", environment=of)
        file = made.path / "run.json"
        file.write_text(file.read_text().replace("T12:00:00", f"T12:0{index}:00"))


def test_what_moved(history, runs):
    """A table has the commit, the number, its values, the confidence and what else changed."""
    code, out, err = history("runs")
    assert (code, err) == (0, "")
    assert "runs: 3 runs of 3 commits, 1 of 3 numbers moved" in out
    row = next(line for line in out.splitlines() if line.startswith("22222222"))
    told = ("2026-11-22", "peak memory", "10.00 GiB", "11.40 GiB", "+14.0 %", "exact")
    assert all(words in row for words in told)
    assert "at 22222222 the environment changed too, which may be the cause: " in out
    assert "transformers 5.1 → 5.2" in out


def test_nothing_moved(history, runs):
    """Without a move the counts alone are printed."""
    code, out, _ = history("runs", "--number", "saved_bytes")
    assert code == 0
    assert out.strip() == "runs: 3 runs of 3 commits, none of 1 number moved"


def test_every_number(history, runs):
    """With --all each number stands with its course."""
    _, out, _ = history("runs", "--all", "--number", "peak_allocated_bytes,saved_bytes")
    assert "▁▁█" in out
    assert "▁▁▁" in out


def test_fail(history, runs):
    """With --fail a number that got worse at the last commit exits with 3, and one line says so."""
    code, _, err = history("runs", "--fail")
    assert code == 3
    assert err.startswith("error: 1 number got worse at the last commit; the gravest: peak_alloc")
    assert err.count("\n") == 1


def test_files(history, runs, tmp_path):
    """The figure, Markdown and JSON are written; what is printed is one of them."""
    code, out, err = history("runs", "--out", "figures/moved.html", "--markdown", "moved.md")
    assert (code, err) == (0, "figure: figures/moved.html\n")
    assert "rmmbench history" not in out
    page = (tmp_path / "figures" / "moved.html").read_text(encoding="utf-8")
    assert "What moved, and when" in page
    assert (tmp_path / "moved.md").read_text(encoding="utf-8").startswith("### rmmbench history\n")
    code, out, _ = history("runs", "--json")
    assert {move["told"] for each in json.loads(out)["series"] for move in each["moves"]} == {
        "exact"
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none must have runs, and has none; give a folder with run directories"),
        (["runs/0"], "runs/0 is one run and in no git repository; give a folder of runs"),
        (["runs", "--commits", "main"], "--commits walks the commits of one run, got the folder"),
        (["runs", "--number", "peak"], "no number named 'peak'"),
        (["runs", "--number", "score"], "runs must have one of the numbers score, and has none"),
        (["runs", "--json", "--markdown", "-"], "only one of --markdown - and --json can have"),
    ],
)
def test_bad_input(history, runs, arguments, message):
    """What is no history is one line that says what to do."""
    code, out, err = history(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
