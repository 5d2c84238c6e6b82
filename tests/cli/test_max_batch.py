"""`rmmbench max-batch`: what it finds, what it refuses, and how it ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rmmbench import cli
from rmmbench.errors import Exit
from rmmbench.results.store import RECORDS_FILE, Run
from rmmbench.units import MIB

PROFILE = """
version = 1
title = "Small"

[timing]
warmup_steps = 1
min_steps = 2
max_steps = 2

[[grid]]
model = ["linear:8x8"]
task = ["mrpc"]
batch_size = [4, 5]
sketch = ["gaussian"]
rho = [0.1]
measure = ["time"]

[[grid]]
model = ["linear:8x8"]
task = ["mrpc"]
sketch = ["gaussian"]
rho = [0.1]
measure = ["memory"]
"""

MODEL = "mlp:32-256-256-4"

FACTORIES = """
import time
from pathlib import Path
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(256, 256)

    def forward(self, x):
        return self.linear(x).square().sum()

def made(batch_size, seq_len):
    return Net(), lambda: {"x": torch.randn(batch_size, 256)}

def fails_later(batch_size, seq_len):
    if batch_size > 8:
        raise OSError("the dog ate it")
    return made(batch_size, seq_len)

def hangs_once(batch_size, seq_len):
    if batch_size > 8 and not Path("hanging").exists():
        Path("hanging").touch()
        time.sleep(600)
    return made(batch_size, seq_len)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a directory with a profile and a module of models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(PROFILE)
    (tmp_path / "mine.py").write_text(FACTORIES)
    return tmp_path


@pytest.fixture
def max_batch(folder, monkeypatch, capsys):
    """Run the command on the small profile and return its exit code, stdout and stderr."""

    def run(*args):
        command = ["rmmbench", "max-batch", *map(str, args), "--profile", "small.toml"]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, error = capsys.readouterr()
        return caught.value.code, out, error

    return run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--memory", "lots"], "a memory size must be a number and a unit, such as '16"),
        (["--memory", "0GiB"], "memory must be above 0, got '0GiB'"),
        (["--memory", "-1GiB"], "a memory size must be a number and a unit, such as '1"),
        (["--memory", "100KiB"], "memory must be above the 294.0 KiB of mlp:32-256-256-4's own"),
        (["--rho", "1.5"], "--rho must be in (0, 1], got 1.5"),
        (["--seq-len", "ten"], "--seq-len must be whole numbers, got 'ten'"),
        (
            ["--dtype", "float8"],
            "--dtype must be one of float32, bfloat16, float16, bfloat16-true, ",
        ),
        (["--attention", "flash"], "--attention must be one of eager, sdpa, got 'flash'"),
        (["--task", "colla"], "--task: no task named 'colla'; did you mean 'cola'?; choose from:"),
        (["--method", "rrm"], "no method named 'rrm'; did you mean 'rmm'?; choose from: exact"),
        (["--method", "exact-rp+rmm"], "rmm and exact-rp cannot be combined: both take over the"),
        (["--sketch", "gausian"], "no sketch named 'gausian'; did you mean 'gaussian'?; choose"),
        (
            ["--device", "gpu"],
            "--device must be one of auto, cuda, cpu, predict, got 'gpu'",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(folder, max_batch, flags, message):
    """A wrong request is told at once, and no run directory is made."""
    memory = [] if "--memory" in flags else ["--memory", "4MiB"]
    code, out, error = max_batch(MODEL, *flags, *memory)
    assert (code, out) == (Exit.USAGE, "")
    assert error.splitlines()[-1].startswith(f"error: {message}")
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("liner", "no model named 'liner'; did you mean 'linear'?; choose from: rob"),
        ("linear:8", "linear must be given as linear:INxOUT, got 'linear:8'"),
    ],
)
def test_a_model_that_cannot_be_made_is_one_line(max_batch, model, message):
    """A model is refused in the words of its own family."""
    code, out, error = max_batch(model, "--memory", "4MiB")
    assert (code, out) == (Exit.USAGE, "")
    assert error.splitlines()[-1].startswith(f"error: {message}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_one_line(max_batch):
    """A GPU that is not here is told with what there is instead."""
    code, _, error = max_batch(MODEL, "--memory", "4MiB", "--device", "cuda")
    assert code == Exit.USAGE
    assert error.splitlines()[-1].startswith("error: --device cuda needs a GPU, and ")


def test_memory_must_be_given(max_batch):
    """Without a limit there is no question."""
    code, _, error = max_batch(MODEL)
    assert code == Exit.USAGE
    assert "--memory" in error


def test_the_table_has_a_line_for_each_way(folder, max_batch):
    """A profile's cases that differ in batch size alone are one; the table is on stdout.

    What the table says is what the records say, and exact is the measure of the others.
    """
    flags = ["--memory", "48MiB", "--device", "predict", "--task", "mrpc"]
    code, out, error = max_batch(MODEL, *flags)
    assert code == Exit.OK, error
    lines = {line.split("ρ")[0].split("  ")[0].strip(): line for line in out.splitlines()}
    run = Run.open(folder / "runs" / f"max-batch-{MODEL.replace(':', '-')}-48MiB-predict")
    largest = {}
    for record in run.records():
        assert record.case.memory_limit_bytes == 48 * MIB
        assert record.outcome in ("ok", "out_of_memory")
        if record.outcome == "ok":
            name = record.case.settings["sketch"] or "exact"
            largest[name] = max(largest.get(name, 0), record.case.batch_size)
    assert set(largest) == {"exact", "gaussian"}
    for name, size in largest.items():
        words = lines[name].split()
        assert str(size) in words
        assert f"{size / largest['exact']:.2f}×" in words
    assert f"{MODEL} · MRPC · adam · a100 · 48.0 MiB of memory" in out
    assert "Memory predicted on fake tensors" in out
    assert "samples/s" not in out
    assert f"every probe: rmmbench table runs/{run.path.name} " in error.splitlines()[-1]
    assert "the same command" not in error


def test_over_ranks_a_batch_is_each_ranks(folder, max_batch):
    """The table says on how many GPUs the memory is, and what all ranks have together."""
    over = ["--ranks", "2", "--parallel", "fsdp2", "--seq-len", "16", "--method", "exact"]
    where = ["--memory", "100MiB", "--device", "predict", "--out", "run"]
    code, out, error = max_batch("decoder:2x64", *over, *where)
    assert code == Exit.OK, error
    assert "100.0 MiB of memory on each of 2 GPUs" in " ".join(out.split())
    (line,) = [line for line in out.splitlines() if line.startswith("exact")]
    largest, in_all = map(int, line.split()[1:3])
    assert in_all == 2 * largest
    fitting = [one.case.batch_size for one in Run.open(folder / "run").records() if one.memory]
    assert largest in fitting


def test_measured_and_timed_as_data(folder, max_batch):
    """Told as JSON: the batches, their peaks on the CPU, and the throughput of the largest."""
    flags = ["--method", "exact", "--device", "cpu", "--time", "--json", "--out", "run"]
    code, out, error = max_batch(MODEL, "--memory", "3MiB", *flags)
    assert code == Exit.OK, error
    told = json.loads(out)
    assert told["memory_limit_bytes"] == 3 * MIB
    assert told["device"] == "cpu"
    found = told["methods"][0]
    assert found["label"] == "exact"
    assert found["too_large_batch_size"] == found["largest_batch_size"] + 1
    assert found["largest_peak_bytes"] <= 3 * MIB < found["too_large_peak_bytes"]
    assert found["times_exact"] == 1.0
    timed = [record for record in Run.open(folder / "run").records() if record.timing]
    assert [record.case.batch_size for record in timed] == [found["largest_batch_size"]]
    assert found["samples_per_second"] == timed[0].timing.samples_per_second


def test_memory_for_no_sample_at_all_is_a_result(max_batch):
    """More than the parameters, and less than a step: that nothing fits is told."""
    code, out, _ = max_batch(
        MODEL, "--memory", "400KiB", "--method", "exact", "--device", "predict"
    )
    assert code == Exit.OK
    line = next(line for line in out.splitlines() if line.startswith("exact"))
    assert "none fits" in line


def test_a_search_that_fails_is_told(folder, max_batch):
    """A probe that ends in an error ends its method's search, with exit code 7 and the reason."""
    flags = ["--memory", "48MiB", "--method", "exact", "--device", "predict", "--out", "run"]
    code, out, error = max_batch("import:mine:fails_later", *flags)
    assert code == Exit.SOME_FAILED
    assert "≥ 8" in out
    assert "error: import:mine:fails_later" in error
    assert "the dog ate it" in error
    assert "Traceback" not in error


def test_a_directory_of_another_search_is_refused(max_batch):
    """Two limits never share a directory."""
    flags = ["--method", "exact", "--device", "predict", "--out", "run"]
    assert max_batch(MODEL, "--memory", "3MiB", *flags)[0] == Exit.OK
    code, _, error = max_batch(MODEL, "--memory", "4MiB", *flags)
    assert code == Exit.USAGE
    assert error.splitlines()[-1].startswith("error: run holds other cases (profile 'small.toml')")


def test_an_interrupted_search_goes_on(folder, max_batch, wait_for):
    """Ctrl-C ends it with exit code 130; the same command launches nothing that is recorded."""
    flags = ["import:mine:hangs_once", "--memory", "48MiB", "--method", "exact"]
    flags += ["--device", "predict", "--out", "run"]
    running = subprocess.Popen(
        [sys.executable, "-m", "rmmbench", "max-batch", *flags, "--profile", "small.toml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whatever runs these tests in the background may have it ignored, as a terminal never does.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with running:
        try:
            wait_for((folder / "hanging").exists)
            os.killpg(running.pid, signal.SIGINT)
            out, error = running.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == Exit.INTERRUPTED
    assert out == ""
    told = "interrupted: 1 probe is recorded in run; the same command goes on"
    assert error.splitlines()[-1] == told
    before = Path("run", RECORDS_FILE).read_bytes()
    code, out, error = max_batch(*flags)
    assert code == Exit.OK, error
    assert "run has 1 probes already" in error
    assert Path("run", RECORDS_FILE).read_bytes().startswith(before)
    keys = [record.key for record in Run.open(Path("run")).records()]
    assert len(keys) == len(set(keys))
    assert "1.00×" in out
