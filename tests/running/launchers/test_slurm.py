"""Jobs of Slurm: tested where submitit runs them on this machine."""

import socket

import pytest

import rmmbench
from rmmbench.errors import UsageError
from rmmbench.running.isolation.process import EndedError
from rmmbench.running.launchers import _job, slurm
from rmmbench.running.launchers.launcher import Launch
from rmmbench.running.launchers.slurm import SlurmCluster

pytest.importorskip("submitit")
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
        ("partition=gpu", "and this machine has no sbatch"),
    ],
)
def test_what_slurm_cannot_do_is_refused(argument, message, monkeypatch):
    """A setting that there is not, and a machine without Slurm, in one line."""
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match=r"^--launcher slurm") as refused:
        SlurmCluster(Launch("slurm", argument))
    assert message in str(refused.value)


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


def test_a_job_that_cannot_be_submitted_ends_the_command():
    """What sbatch says is the message."""

    def refuses():
        raise RuntimeError("sbatch: error:\n invalid partition")

    with pytest.raises(EndedError, match="Slurm takes no job: sbatch: error: invalid partition"):
        slurm._submitted(refuses)
