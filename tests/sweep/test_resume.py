"""A sweep killed at any moment and started again has each case's record exactly once."""

import os
import signal
import subprocess
import sys

import pytest

from rmmbench import profile
from rmmbench.errors import Exit
from rmmbench.store import RECORDS_FILE, RUN_FILE, Run

PROFILE = """
version = 1
title = "Small models, predicted"
device = "predict"

[[grid]]
model = ["linear:8x8", "mlp:8-8-4"]
batch_size = [4, 5, 6]
rho = [0.5]
measure = ["memory"]
"""


@pytest.fixture
def start(tmp_path):
    """Start the sweep's command in a session of its own; the run directory is tmp_path / "run"."""
    (tmp_path / "small.toml").write_text(PROFILE)
    command = [sys.executable, "-m", "rmmbench", "sweep", "small.toml", "--out", "run"]

    def started():
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return started


def test_a_killed_sweep_loses_no_record_and_doubles_none(start, tmp_path, wait_for, living):
    """Killed in its start-up, after one record and after more: nothing is lost or made anew."""
    records = tmp_path / "run" / RECORDS_FILE

    def whole_lines():
        return records.read_bytes().rpartition(b"\n")[0].splitlines() if records.is_file() else []

    kept, descriptions = [], set()
    moments = [
        lambda: len(living()) > 1,  # the server of processes is there
        lambda: len(whole_lines()) >= 1,
        lambda: len(whole_lines()) > len(kept),
    ]
    for moment in moments:
        with start() as sweep:
            wait_for(moment)
            os.kill(sweep.pid, signal.SIGKILL)
            assert sweep.wait() == -signal.SIGKILL
            wait_for(lambda: not living())
        assert whole_lines()[: len(kept)] == kept
        kept = whole_lines()
        if kept:
            descriptions.add((tmp_path / "run" / RUN_FILE).read_bytes())
    cases = profile.load(str(tmp_path / "small.toml")).cases("predict", None)
    assert 2 <= len(kept) < len(cases)
    with start() as sweep:
        out, error = sweep.communicate(timeout=120)
    assert sweep.returncode == Exit.OK, error
    assert f"run has {len(kept)} of {len(cases)} cases already" in error
    assert "linear:8x8" in out
    assert whole_lines()[: len(kept)] == kept
    found = Run.open(tmp_path / "run").records()
    assert sorted(record.key for record in found) == sorted(case.key for case in cases)
    assert {record.outcome for record in found} == {"ok"}
    assert descriptions == {(tmp_path / "run" / RUN_FILE).read_bytes()}
