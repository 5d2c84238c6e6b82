"""A sweep killed at any moment and started again has each case's record exactly once."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rmmbench.errors import Exit
from rmmbench.results.store import RECORDS_FILE, RUN_FILE, Run
from rmmbench.spec import profile

PROFILE = """
version = 1
title = "Small models, predicted"
device = "predict"

[[grid]]
model = ["linear:8x8", "import:leaving:factory"]
batch_size = [4, 5, 6]
rho = [0.5]
measure = ["memory"]
"""

LEAVING = """
import subprocess, torch

def factory(batch_size, seq_len):
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))
    model.forward = lambda x: model[0](x).sum()
    return model, lambda: {"x": torch.randn(batch_size, 4)}
"""


@pytest.fixture
def start(tmp_path):
    """Start the sweep's command in a session of its own; the run directory is tmp_path / "run"."""
    (tmp_path / "small.toml").write_text(PROFILE)
    (tmp_path / "leaving.py").write_text(LEAVING)
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "rmmbench", "sweep", "small.toml", "--out", "run"]

    def started():
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
            start_new_session=True,
        )

    return started


def parent(number):
    """Return a process's parent; None if it is gone."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_killed_sweep_loses_no_record_and_doubles_none(start, tmp_path, wait_for, living):
    """Killed in its start-up, after one record and after more: nothing is lost or made anew.

    In whatever way it was killed, no process of it is left, nor of its cases; a server of processes
    that is killed does not even end it; and a signal that can be told of is.
    """
    records = tmp_path / "run" / RECORDS_FILE

    def whole_lines():
        return records.read_bytes().rpartition(b"\n")[0].splitlines() if records.is_file() else []

    kept, descriptions = [], set()
    cases = profile.load(str(tmp_path / "small.toml")).cases("predict", None)

    def servers(leader):
        return [number for number in living() if parent(number) == leader]

    moments = [
        (signal.SIGKILL, lambda: len(living()) > 1),  # the server of processes is there
        (signal.SIGTERM, lambda: len(whole_lines()) >= 1),
        (signal.SIGHUP, lambda: len(whole_lines()) > len(kept)),
    ]
    for number, moment in moments:
        with start() as sweep:
            wait_for(moment)
            os.kill(sweep.pid, number)
            _, error = sweep.communicate(timeout=60)
            is_told = number != signal.SIGKILL
            assert sweep.returncode == (128 + number if is_told else -number), error
            wait_for(lambda: not living(), seconds=10)
        if is_told:
            count = len(whole_lines())
            kept_ones = (
                f"{count} of {len(cases)} cases {'is' if count == 1 else 'are'} recorded in run"
            )
            told = f"interrupted by {number.name}: {kept_ones}; the same command goes on"
            assert error.splitlines()[-1] == told
        assert whole_lines()[: len(kept)] == kept
        kept = whole_lines()
        if kept:
            descriptions.add((tmp_path / "run" / RUN_FILE).read_bytes())
    assert 2 <= len(kept) < len(cases)
    with start() as sweep:
        wait_for(lambda: len(whole_lines()) > len(kept))
        for server in servers(sweep.pid):
            os.kill(server, signal.SIGKILL)
        out, error = sweep.communicate(timeout=120)
    wait_for(lambda: not living(), seconds=10)
    assert list((tmp_path / "temporary").glob("rmmbench-*")) == []
    assert sweep.returncode == Exit.OK, error
    assert f"run has {len(kept)} of {len(cases)} cases already" in error
    assert "linear:8x8" in out
    assert whole_lines()[: len(kept)] == kept
    found = Run.open(tmp_path / "run").records()
    assert sorted(record.key for record in found) == sorted(case.key for case in cases)
    assert {record.outcome for record in found} == {"ok"}
    assert descriptions == {(tmp_path / "run" / RUN_FILE).read_bytes()}
