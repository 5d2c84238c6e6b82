"""`rmmbench sweep`: what it takes, what it refuses, and how it ends."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from rmmbench import cli
from rmmbench.cli.run_cases import report
from rmmbench.errors import Exit
from rmmbench.report.check import baseline
from rmmbench.results.store import RECORDS_FILE, RUN_FILE, Run

HEAD = 'version = 1\ntitle = "Small"\ndevice = "predict"\n'
GRID = '[[grid]]\nmodel = ["linear:8x8"]\nbatch_size = [4, 5]\nmeasure = ["memory"]\n'
SMALL = HEAD + GRID + "rho = [0.5]\n"

FACTORIES = """
import time
from pathlib import Path
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, elements):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.elements = elements

    def forward(self, x):
        return (self.linear(x) + torch.empty(self.elements, 1, 1)).sum()

def small(batch_size, seq_len):
    return Net(1), lambda: {"x": torch.randn(batch_size, 4)}

def too_large(batch_size, seq_len):
    return Net(2**50), lambda: {"x": torch.randn(batch_size, 4)}

def broken(batch_size, seq_len):
    raise OSError("the dog ate it")

def mended(batch_size, seq_len):
    return small(batch_size, seq_len) if Path("mended").exists() else broken(batch_size, seq_len)

def hangs(batch_size, seq_len):
    Path("hanging").touch()
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a directory with a profile and a module of models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "mine.py").write_text(FACTORIES)
    return tmp_path


@pytest.fixture
def sweep(monkeypatch, capsys):
    """Run the command and return its exit code, stdout and stderr."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "sweep", *map(str, args)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, error = capsys.readouterr()
        return caught.value.code, out, error

    return run


@pytest.fixture
def refused(sweep):
    """Return the one line with which the command is refused, as wrong usage."""

    def run(*args):
        code, out, error = sweep(*args)
        assert (code, out) == (Exit.USAGE, "")
        *begun, error = error.splitlines()
        assert len(begun) <= 1
        assert error.startswith("error: ")
        return error.removeprefix("error: ")

    return run


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return the directory of a sweep that is finished: four cases."""
    path = tmp_path_factory.mktemp("done")
    (path / "small.toml").write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr(sys, "argv", ["rmmbench", "sweep", "small.toml", "--out", "run"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    assert len((path / "run" / RECORDS_FILE).read_bytes().splitlines()) == 4
    return path / "run"


@pytest.fixture
def copied(done, folder):
    """Return a copy of the finished run's directory."""
    return shutil.copytree(done, folder / "run")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rho", "0"], "--rho must be in (0, 1], got 0"),
        (["--rho", "0.5,1.5"], "--rho must be in (0, 1], got 1.5"),
        (["--rho", "nan"], "--rho must be a finite number, got nan"),
        (["--rho", "abc"], "--rho must be numbers, got 'abc'"),
        (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["--batch-size", "2.5"], "--batch-size must be whole numbers, got '2.5'"),
        (["--sketch", "gausian"], "no sketch named 'gausian'; did you mean 'gaussian'?; choose"),
        (["--sketch", "kronecker"], "sketch 'kronecker' needs block_rows, which says how 4 r"),
        (["--method", "rrm"], "no method named 'rrm'; did you mean 'rmm'?; choose from: exact"),
        (["--method", "rmm+exact-rp"], "rmm and exact-rp cannot be combined: both take over the"),
        (["--method", "checkpoint"], "linear:8x8: checkpoint must find blocks to repeat, two or"),
        (["--model", "liner"], "no model named 'liner'; did you mean 'linear'?; choose from: rob"),
        (["--model", "linear:8"], "linear must be given as linear:INxOUT, got 'linear:8'"),
        (["--model", "hf:bret"], "no transformers config named 'bret'; did you mean 'bert'?; give"),
        (["--model", "import:mine:smal"], "import:mine:smal cannot be imported: AttributeError: m"),
        (
            ["--device", "gpu"],
            "--device must be one of auto, cuda, cpu, predict, got 'gpu'",
        ),
    ],
)
def test_a_wrong_flag_is_one_line(folder, refused, flags, message):
    """What cannot be asked for is told at once, and no run directory is made."""
    assert refused("small.toml", *flags).startswith(message)
    assert not (folder / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_one_line(folder, refused):
    """A GPU that is not here is told with what there is instead."""
    told = refused("small.toml", "--device", "cuda")
    assert told.startswith("--device cuda needs a GPU, and ")
    assert told.endswith("; use predict, cpu or auto")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "wrong.toml: a profile must be TOML: "),
        (SMALL + "sketchs = []", "wrong.toml: unknown key 'sketchs' in [grid]; did you mean 'sket"),
        (SMALL.replace("0.5", "0"), "wrong.toml: rho in [grid] must be in (0, 1], got 0"),
        (SMALL.replace("[4, 5]", "[0]"), "wrong.toml: batch_size in [grid] must be at least 1, go"),
        (HEAD + GRID, "a grid with method 'rmm' must give rho or proj_dim; or give --rho"),
    ],
)
def test_a_wrong_profile_is_one_line(folder, refused, text, message):
    """A profile that does not say what it must is told with file, key and the nearest."""
    (folder / "wrong.toml").write_text(text)
    assert refused("wrong.toml").startswith(message)


def test_an_unknown_profile_is_named_with_the_nearest(folder, refused):
    """Names are of profiles that ship; a path ends in .toml."""
    told = refused("figur2")
    assert told.startswith("no profile named 'figur2'; did you mean 'figure2'?; choose from: ")
    assert refused("none.toml") == "none.toml: cannot be read: No such file or directory"


def test_a_dry_run_lists_the_cases(folder, sweep):
    """Each case is a line of stdout, exact first, and nothing is made."""
    code, out, error = sweep("small.toml", "--dry-run", "--rho", "0.5,0.1")
    assert code == Exit.OK
    shown = [line.split(maxsplit=4)[1:] for line in out.splitlines()]
    assert shown == [
        ["predict", "linear:8x8", size, label]
        for size in "45"
        for label in ("exact", "gaussian ρ=0.5", "gaussian ρ=0.1")
    ]
    assert error == "6 cases\n"
    assert not (folder / "runs").exists()


def test_a_dry_run_imports_no_model_of_the_users(folder, sweep):
    """A list of cases runs nobody's code; the sweep itself would."""
    (folder / "touching.py").write_text("open('imported', 'w')")
    code, out, _ = sweep("small.toml", "--dry-run", "--model", "import:touching:factory")
    assert code == Exit.OK
    assert out.count("import:touching:factory") == 4
    assert not (folder / "imported").exists()


def test_exact_alone_can_be_measured(folder, sweep):
    """A flag may leave the profile's method out."""
    code, out, _ = sweep("small.toml", "--dry-run", "--method", "exact")
    assert code == Exit.OK
    assert [line.split()[-1] for line in out.splitlines()] == ["exact", "exact"]


def test_a_sweep_ends_with_its_table(folder, sweep):
    """Progress and paths are on stderr; the table alone is on stdout, and the last line goes on."""
    code, out, error = sweep("small.toml")
    assert code == Exit.OK
    assert out.count("gaussian") == 2
    assert "linear:8x8" in out
    lines = error.splitlines()
    path = "runs/small-predict"
    assert lines[0] == f"small.toml on predict: records go to {path}; loading torch"
    further = (
        f"rmmbench report {path}, rmmbench plot {path} or rmmbench check LATER --against {path}"
    )
    assert lines[-1] == f"records: {path}   next: {further}"
    assert len(Run.open(folder / "runs" / "small-predict").records()) == 4


def test_what_a_device_cannot_tell_is_no_failure(folder, sweep):
    """A method that cannot be predicted is skipped by name, with what to do instead."""
    code, out, error = sweep("small.toml", "--method", "compile", "--batch-size", "4")
    assert code == Exit.OK
    assert "skipped" in out
    assert "skipped: linear:8x8 4 compile, while starting: what compiled code allocates" in error


def test_a_warning_of_several_cases_is_told_once(capsys, monkeypatch):
    """What holds for all cases alike is one line, and how many they are."""
    records = list(Run.open(baseline.find("ci")).each_record())[:4]
    warned = [each.model_copy(update={"warnings": ("the same",)}) for each in records]
    monkeypatch.setattr(Run, "records", lambda _: warned)
    report(Run.open(baseline.find("ci")), as_json=True)
    error = capsys.readouterr().err
    warnings = [line for line in error.splitlines() if line.startswith("warning: ")]
    assert warnings == ["warning: 4 cases: the same"]


def test_a_finished_sweep_is_not_run_again(copied, sweep):
    """The same command on a finished directory shows the table and changes no record."""
    before = (copied / RECORDS_FILE).read_bytes()
    code, out, error = sweep("small.toml", "--out", copied)
    assert code == Exit.OK
    assert "run has 4 of 4 cases already" in error
    assert out.count("gaussian") == 2
    assert (copied / RECORDS_FILE).read_bytes() == before


def test_a_directory_of_something_else_is_refused(folder, refused):
    """What is not a run directory is not written to."""
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("all of it")
    told = refused("small.toml", "--out", "mine")
    assert told == "mine is not empty and not a run directory; give another with --out"
    assert [path.name for path in (folder / "mine").iterdir()] == ["thesis.txt"]


def test_a_directory_of_other_cases_is_refused(copied, refused):
    """Two sweeps of different cases never share a directory."""
    before = (copied / RECORDS_FILE).read_bytes()
    told = refused("small.toml", "--rho", "0.1", "--out", "run")
    expected = "run holds other cases (profile 'small.toml'); give another directory with --out"
    assert told == expected
    assert (copied / RECORDS_FILE).read_bytes() == before


def test_a_locked_directory_is_refused(copied, refused):
    """A directory that another sweep holds is left to it."""
    with Run.open(copied).locked():
        told = refused("small.toml", "--out", "run")
    assert told == "run is in use by another sweep; wait for it or give --out"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"not json", "run/records.jsonl:3 is not JSON; remove the line"),
        (
            b'{"schema_version": 9}',
            "run/records.jsonl:3 must have schema_version 1 or 2, got ",
        ),
        (
            b'{"schema_version": 1}',
            "run/records.jsonl:3 is not a record: key: must be given; re",
        ),
    ],
)
def test_a_foreign_line_is_refused(copied, refused, line, message):
    """A line that no sweep wrote is named by its number, and the file is left as it is."""
    file = copied / RECORDS_FILE
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([*lines[:2], line, *lines[2:]]) + b"\n")
    before = file.read_bytes()
    assert refused("small.toml", "--out", "run").startswith(message)
    assert file.read_bytes() == before


def test_a_torn_line_is_measured_again(copied, sweep):
    """What a crash left of a record is dropped, and that case alone is measured."""
    file = copied / RECORDS_FILE
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:3]) + lines[3][:50])
    code, _, error = sweep("small.toml", "--out", "run")
    assert code == Exit.OK
    assert "run has 3 of 4 cases already" in error
    assert file.read_bytes().startswith(b"".join(lines[:3]))
    assert len({record.key for record in Run.open(copied).records()}) == 4


def test_records_in_no_file_are_one_line(copied, sweep):
    """Where a device stands for the records the sweep ends with what to do; then it goes on."""
    file, whole = copied / RECORDS_FILE, copied / "whole"
    file.rename(whole)
    file.symlink_to("/dev/full")
    code, out, error = sweep("small.toml", "--out", "run")
    assert (code, out) == (Exit.USAGE, "")
    assert error.splitlines()[-1] == (
        "error: run/records.jsonl must be a file, and is something else; mend it"
    )
    assert "Traceback" not in error
    whole.replace(file)
    assert "run has 4 of 4 cases already" in sweep("small.toml", "--out", "run")[2]


def test_a_disk_that_fills_keeps_what_is_there(copied, sweep):
    """A record of which only a part went onto the disk costs none of those before it."""
    file = copied / RECORDS_FILE
    kept = b"".join(file.read_bytes().splitlines(keepends=True)[:2])
    file.write_bytes(kept)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) + 100, hard))
    try:
        code, _, error = sweep("small.toml", "--out", "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == Exit.USAGE
    assert "cannot be written: File too large; free space and run the same command" in error
    assert file.read_bytes().startswith(kept)
    assert len(Run.open(copied).records()) == 2
    assert sweep("small.toml", "--out", "run")[0] == Exit.OK
    assert file.read_bytes().startswith(kept)
    assert len({record.key for record in Run.open(copied).records()}) == 4


@pytest.mark.parametrize(
    ("models", "code", "told"),
    [
        (["small", "broken"], Exit.SOME_FAILED, "error: import:mine:broken 4 exact, while "),
        (["small", "too_large"], Exit.OK, "out_of_memory: import:mine:too_large 4 exact, while "),
    ],
)
def test_how_a_sweep_ends_with_cases_that_fail(folder, sweep, models, code, told):
    """A case that failed is told, and is exit code 7; running out of memory is a result."""
    names = ",".join(f"import:mine:{name}" for name in models)
    flags = ["--device", "cpu", "--method", "exact", "--model", names, "--batch-size", "4"]
    found, _, error = sweep("small.toml", *flags)
    assert found == code
    assert told in error
    assert "Traceback" not in error
    outcomes = [record.outcome for record in Run.open(folder / "runs" / "small-cpu").records()]
    assert outcomes == ["ok", "error" if code else "out_of_memory"]


def test_what_failed_is_measured_again_only_when_asked(folder, sweep):
    """The same command leaves a failure as it is and names --retry, which measures that alone."""
    flags = ["--device", "cpu", "--method", "exact", "--batch-size", "4", "--out", "run"]
    flags += ["--model", "import:mine:small,import:mine:mended"]
    code, _, error = sweep("small.toml", *flags)
    assert code == Exit.SOME_FAILED
    assert "cases that failed: 1; the same command with --retry measures them again" in error
    (folder / "mended").touch()
    before = (folder / "run" / RECORDS_FILE).read_bytes()
    assert sweep("small.toml", *flags)[0] == Exit.SOME_FAILED
    assert (folder / "run" / RECORDS_FILE).read_bytes() == before
    code, _, error = sweep("small.toml", *flags, "--retry")
    assert code == Exit.OK, error
    assert "run has 1 of 2 cases already" in error
    assert (folder / "run" / RECORDS_FILE).read_bytes().startswith(before)
    assert [record.outcome for record in Run.open(folder / "run").records()] == ["ok", "ok"]


def test_an_interrupted_sweep_keeps_its_records(folder, refused, wait_for):
    """Ctrl-C ends a sweep with exit code 130, and says what is recorded; no second one ran beside.

    The working directory's own module is found from the command line.
    """
    flags = ["--model", "linear:8x8,import:mine:hangs", "--method", "exact", "--out", "run"]
    running = subprocess.Popen(
        [sys.executable, "-m", "rmmbench", "sweep", "small.toml", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whatever runs these tests in the background may have it ignored, as a terminal never does.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    records = folder / "run" / RECORDS_FILE
    with running:
        try:
            wait_for(lambda: records.is_file() and records.read_bytes().count(b"\n") == 2)
            wait_for((folder / "hanging").exists)
            told = refused("small.toml", *flags)
            assert told == "run is in use by another sweep; wait for it or give --out"
            # As a terminal does: to the whole group.
            os.killpg(running.pid, signal.SIGINT)
            out, error = running.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == Exit.INTERRUPTED
    assert out == ""
    assert "Traceback" not in error
    expected = "interrupted: 2 of 4 cases are recorded in run; the same command goes on"
    assert error.splitlines()[-1] == expected
    assert {record.case.model for record in Run.open(folder / "run").records()} == {"linear:8x8"}
    assert (folder / "run" / RUN_FILE).is_file()
