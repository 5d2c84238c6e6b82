"""A record says which state of the user's code it is of."""

import shutil
import subprocess

import pytest

from rmmbench.measures.repository import code_state

UNKNOWN = {"commit": None, "dirty": None}


@pytest.fixture
def git(tmp_path):
    """Return git, in a new repository."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")

    def run(*args):
        done = subprocess.run(["git", *who, *args], cwd=tmp_path, check=True, capture_output=True)
        return done.stdout.decode().strip()

    run("init", "--quiet")
    return run


def test_the_commit_is_told_and_whether_files_differ_from_it(git, tmp_path, monkeypatch):
    """A changed file, or a model that is in no commit, makes a tree differ; other new files not."""
    file, below = tmp_path / "model.py", tmp_path / "below"
    below.mkdir()
    file.write_text("width = 1")
    assert code_state(tmp_path) == UNKNOWN  # nothing is committed yet
    git("add", ".")
    git("commit", "--quiet", "--message", "A model")
    clean = {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert code_state(below, file) == clean
    (tmp_path / "runs").mkdir()
    new = tmp_path / "runs" / "new.py"
    new.write_text("width = 3")
    assert code_state(tmp_path) == clean  # what a sweep writes is not code
    assert code_state(tmp_path, new) == clean | {"dirty": True}
    # As in a hook of another repository.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert code_state(tmp_path) == clean
    file.write_text("width = 2")
    assert code_state(below) == clean | {"dirty": True}


def test_code_that_is_in_no_repository_has_no_commit(tmp_path, monkeypatch):
    """Neither where there is none, nor where git is not installed, nor where nothing is."""
    assert code_state(tmp_path) == UNKNOWN
    assert code_state(tmp_path / "nowhere") == UNKNOWN
    monkeypatch.setenv("PATH", "")
    assert code_state(tmp_path) == UNKNOWN
