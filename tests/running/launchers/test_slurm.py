"""Jobs of Slurm: tested where submitit runs them on this machine."""

import os
import signal
import socket
import sys
import time
from types import SimpleNamespace

import pytest

import rmmbench
from rmmbench.errors import UsageError
from rmmbench.running.isolation.process import EndedError
from rmmbench.running.launchers import _job, _queue, _spreading, slurm
from rmmbench.running.launchers._jobs_here import JobsHere
from rmmbench.running.launchers.launcher import Launch
from rmmbench.running.launchers.slurm import SlurmCluster

submitit = pytest.importorskip("submitit")
MINE = {"grid": [{"model": ["mlp:8-16-4"], "batch_size": [16, 32], "rho": [0.5]}]}


def test_jobs_leave_the_records_of_this_machine(tmp_path, monkeypatch):
    """Each case has one record, as here but for its node; of the jobs nothing stays."""
    monkeypatch.chdir(tmp_path)
    about = {"device": "predict", "quiet": True}
    here = rmmbench.run(MINE, out="here", **about).records()
    there = rmmbench.run(MINE, out="there", launcher="slurm:local", **about).records()
    assert {each.environment.node for each in there} == {socket.gethostname()}
    assert [(each.key, each.memory) for each in sorted(there, key=lambda each: each.key)] == [
        (each.key, each.memory) for each in sorted(here, key=lambda each: each.key)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("partion=gpu", "got 'partion=gpu'; did you mean 'partition'?"),
        ("gpu", "got 'gpu'; did you mean 'gpus'?"),
        ("mem=1G,gpus", "mem, time; got 'gpus'"),
        ("gpus=2", "gpus must be 1 or 0, whether there are any: a case has one for each rank; got"),
        ("partition=gpu", "and this machine has no sbatch"),
    ],
)
def test_what_slurm_cannot_do_is_refused(argument, message, monkeypatch):
    """A setting that there is not, and a machine without Slurm, in one line."""
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match=r"^--launcher slurm") as refused:
        SlurmCluster(Launch("slurm", argument))
    assert message in str(refused.value)


def test_a_job_ends_when_it_is_told_to(tmp_path, monkeypatch):
    """Submitit would have it go on, beside the job that takes its place."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    monkeypatch.setattr(_job, "node_events", lambda *_: [signal.getsignal(signal.SIGTERM)])
    try:
        _job.job_events(tmp_path / "told", [], None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert list(_job.Told(tmp_path / "told").read()) == [signal.SIG_DFL]


def test_what_a_job_tells_is_read_as_far_as_it_is_written(tmp_path):
    """Half a message waits for its other half; a job that is started again is read anew."""
    file = tmp_path / "told"
    told = _job.Told(file)
    assert list(told.read()) == []
    _job._write(file, ["one", "two"])
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    assert list(told.read()) == ["one"]
    file.write_bytes(whole)
    assert list(told.read()) == ["two"]
    assert list(told.read()) == []
    _job._write(file, ["again"])
    assert list(told.read()) == ["again"]


class Job:
    """What is asked of submitit's job."""

    def __init__(self, folder, number):
        """Have no result yet."""
        self.job_id, self.paths = number, SimpleNamespace(result_pickle=folder / "result")


def test_a_job_that_cannot_be_submitted_ends_the_command(capsys):
    """What sbatch says is the message."""

    def refuses():
        sys.stderr.write("said twice")
        raise RuntimeError("sbatch: error: invalid partition: x\nsbatch: error: It failed")

    said = "Slurm takes no job: invalid partition: x; It failed; mend the settings after slurm:, or"
    with pytest.raises(EndedError, match=f"^{said} see sinfo for whether it runs$"):
        _queue.submitted(refuses)
    assert capsys.readouterr().err == ""


def test_a_job_here_has_ended_once_it_is_cancelled(tmp_path, capfd):
    """And nothing is printed of it, as submitit's own process is interrupted too."""
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="local")
    job, jobs = _queue.submitted(executor.submit, time.sleep, 60), JobsHere()
    while not list(tmp_path.glob("*.out")):
        assert not jobs.has_ended(job)
        time.sleep(0.05)
    jobs.cancel([job])
    assert jobs.has_ended(job)
    assert capfd.readouterr().err == ""


SQUEUE = """#!/bin/sh
cat {listed} && test ! -e {broken}
"""


def test_jobs_end_when_slurm_has_them_no_longer(tmp_path, monkeypatch):
    """Without accounting: while squeue lists a job, or does not answer, it has not ended."""
    listed, broken, job = tmp_path / "listed", tmp_path / "broken", Job(tmp_path, "7_1")
    (tmp_path / "squeue").write_text(SQUEUE.format(listed=listed, broken=broken))
    (tmp_path / "squeue").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("_EVERY_SECONDS", "_LATE_SECONDS"):
        monkeypatch.setattr(_queue, name, 0.0)
    queue = _queue.Queue()

    def asked(until):
        for _ in range(500):
            has_ended = queue.has_ended(job)
            if until(has_ended):
                return has_ended
            time.sleep(0.01)
        return has_ended

    listed.write_text("7_0 R None\n7_1 PD Nodes required are DOWN\n")
    assert asked(lambda has_ended: queue.reason(job)) is False
    assert queue.reason(job) == "Nodes required are DOWN"
    listed.write_text("7_0 R None\n7_1 CG None\n")
    assert asked(lambda has_ended: queue.reason(job) is None) is False
    broken.touch()
    listed.write_text("slurm_load_jobs error: Unable to contact slurm controller\n")
    monkeypatch.setattr(_queue, "_SILENT_SECONDS", 0.0)
    with pytest.raises(EndedError, match=r"^Slurm does not answer: slurm_load_jobs error: Unable"):
        asked(lambda has_ended: has_ended)
    broken.unlink()
    listed.write_text("7_1 PD PartitionTimeLimit\n")
    with pytest.raises(EndedError, match="waiting for ever, by its word PartitionTimeLimit; give"):
        asked(lambda has_ended: has_ended)
    listed.write_text("7_0 R None\n")
    assert asked(lambda has_ended: has_ended) is True


def test_a_job_that_has_told_its_result_is_not_asked_for(tmp_path):
    """What it has written says so, before Slurm does."""
    job = Job(tmp_path, "8")
    job.paths.result_pickle.touch()
    assert _queue.Queue().has_ended(job)


def test_a_case_of_a_job_has_all_its_cpus(make_record, environment):
    """Predictions of a job run in turn, each on as many CPUs as were asked for."""
    cluster = SlurmCluster(Launch("slurm", "local", cpus_per_case=3))
    terms = SimpleNamespace(time_limit_seconds=60.0, began_on=environment)
    cases = [make_record(batch_size=number).case for number in range(1, 25)]
    launcher = slurm.SlurmLauncher(cluster, terms)
    tasks = list(launcher._taken(_spreading.Tasks(cases, environment)))
    assert [(len(task.cases), task.cpus, task.lanes) for task in tasks] == [(20, 3, 1), (4, 3, 1)]
