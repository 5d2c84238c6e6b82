"""A run's directory: one sweep at a time, of one question, where it can be written."""

import json
import subprocess
import sys

import pytest

from rmmbench.errors import Exit, RunError
from rmmbench.results.store import (
    LOCK_FILE,
    RECORDS_FILE,
    RUN_FILE,
    Run,
    RunInfo,
)


def changed(info, **fields):
    """Return a run's description with other fields."""
    return RunInfo.model_validate(info.model_dump() | fields)


def refused(action):
    """Return the one line with which an action on a run directory is refused."""
    with pytest.raises(RunError) as caught:
        action()
    assert caught.value.exit_code == Exit.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_directory_is_used_by_one_sweep_at_a_time(run):
    """While another process holds the lock a sweep is refused; when it has died, not."""
    program = (
        "import sys, time; from pathlib import Path; from rmmbench.results.store import Run\n"
        "with Run.open(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        assert "is in use by another sweep; wait for it or give --out" in refused(
            lambda: run.locked().__enter__()
        )
        other.kill()
    with run.locked():
        pass


def test_the_lock_is_given_back(run):
    """After a sweep that failed, the next one may start."""
    with pytest.raises(KeyError), run.locked():
        raise KeyError
    with run.locked():
        pass


def test_a_directory_that_cannot_be_locked_is_told(run):
    """Where no lock can be written no sweep begins, and the reason is the system's."""
    (run.path / LOCK_FILE).mkdir()
    assert "cannot be locked: Is a directory" in refused(lambda: run.locked().__enter__())


def test_the_same_question_goes_on_in_its_directory(run, records):
    """A sweep that is started again finds what it had measured."""
    info = changed(run.info, command="again", started_at="2026-11-23T12:00:00+00:00")
    again = Run.create(run.path, info)
    assert again.records() == records
    assert again.info == run.info


def test_another_profile_is_refused(run):
    """A directory holds the cases of one profile; another's would not be told apart."""
    told = refused(lambda: Run.create(run.path, changed(run.info, profile_hash="other")))
    assert f"{run.path} holds other cases (profile 'golden')" in told
    assert "--out" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("gpu", "H200"), ("driver", "580"), ("torch", "9.9"), ("transformers", None)),
        *(("rmmbench", "9.9"), ("torch_build", "abc"), ("triton", "3.9"), ("python", "3.99")),
        *(("processor", "Another"), ("cpu_count", 64), ("torch_threads", 1)),
    ],
)
def test_another_machine_is_refused(run, name, value):
    """Records of another machine, or of other versions, do not go into one directory."""
    environment = run.info.environment.model_dump() | {name: value}
    told = refused(lambda: Run.create(run.path, changed(run.info, environment=environment)))
    assert f"was measured with {name} " in told
    assert f"here it is {value}; go on where and as it was begun, or give another" in told


def test_all_that_differs_is_told_in_one_line(run):
    """Nobody has to correct one thing to be told of the next; settings of the allocator count."""
    here = {"driver": "580", "torch_threads": 1, "variables": {"MALLOC_ARENA_MAX": "4"}}
    environment = run.info.environment.model_dump() | here
    told = refused(lambda: Run.create(run.path, changed(run.info, environment=environment)))
    settings = "MALLOC_ARENA_MAX 2, here it is 4"
    assert f"{settings}; driver None, here it is 580; torch_threads 2, here it is 1; go on" in told


def test_a_run_of_before_goes_on(run):
    """What an older run does not tell of its machine keeps nobody from going on with it."""
    file = run.path / RUN_FILE
    data = json.loads(file.read_text())
    later = {"torch_build", "triton", "cudnn", "commit", "dirty", "torch_flags", "variables"}
    old = {name: value for name, value in data["environment"].items() if name not in later}
    file.write_text(json.dumps(data | {"environment": old}))
    environment = run.info.environment.model_dump() | {"triton": "3.6", "variables": {"A": "b"}}
    Run.create(run.path, changed(run.info, environment=environment))


def test_another_commit_of_the_users_code_goes_on(run):
    """Each record says which it is of; a model is often corrected for the cases that failed."""
    environment = run.info.environment.model_dump() | {"commit": "abc", "dirty": True}
    Run.create(run.path, changed(run.info, environment=environment))


@pytest.mark.parametrize("open_it", [True, False])
def test_another_schema_is_refused(run, open_it):
    """A run that another version of the schema wrote is named with both versions."""
    file = run.path / RUN_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 3}))
    told = refused(lambda: Run.open(run.path) if open_it else Run.create(run.path, run.info))
    assert told.startswith(f"{file} must have schema_version 1 or 2, got 3; measure again")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a run directory: it has no run.json"),
        ("{", "run.json is not JSON"),
        ("[]", "must have schema_version 1 or 2, got None"),
        ('{"schema_version": 1}', "is not of a run: rmmbench: "),
    ],
)
def test_what_is_no_run_is_not_opened(tmp_path, text, message):
    """A directory without a whole run.json is refused by what is wrong with it."""
    if text is not None:
        (tmp_path / RUN_FILE).write_text(text)
    assert message in refused(lambda: Run.open(tmp_path))


def test_a_path_that_leads_nowhere_is_no_run(tmp_path):
    """A slip in a path is told as one."""
    assert "is not a run directory" in refused(lambda: Run.open(tmp_path / "none"))


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_nothing_else_is_written_into(run, tmp_path, kind):
    """A sweep does not put its files among another's, and leaves those as they are."""
    path = tmp_path / "mine"
    thesis = path / "thesis.tex" if kind == "directory" else path
    thesis.parent.mkdir(exist_ok=True)
    thesis.write_text("precious")
    told = refused(lambda: Run.create(path, run.info))
    assert told == f"{path} is not empty and not a run directory; give another with --out"
    assert thesis.read_text() == "precious"


@pytest.mark.parametrize("left", [RUN_FILE + ".partial", LOCK_FILE, None])
def test_a_sweep_killed_at_its_start_can_be_started_again(run, tmp_path, left):
    """What is left of a directory that was about to be made is no other's."""
    path = tmp_path / "new"
    path.mkdir()
    if left:
        (path / left).write_text('{"schema_ver')
    assert Run.create(path, run.info).records() == []
    assert Run.open(path).info == run.info


def test_a_place_that_cannot_be_written_is_told(run, tmp_path):
    """A path below a file is told with the system's reason."""
    (tmp_path / "file").touch()
    told = refused(lambda: Run.create(tmp_path / "file" / "run", run.info))
    assert "cannot be written: Not a directory" in told


def test_a_device_without_space_is_told(run, records):
    """On a full disk the append is refused with what to do, and the run is still a run."""
    (run.path / RECORDS_FILE).unlink()
    (run.path / RECORDS_FILE).symlink_to("/dev/full")
    told = refused(lambda: run.append(records[0]))
    assert "cannot be written: No space left on device" in told
    assert "free space and run the same command to go on" in told
    assert Run.open(run.path).info == run.info
