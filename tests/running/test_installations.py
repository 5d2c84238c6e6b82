"""A sweep runs again with its own arguments, with another Python or another revision."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from rmmbench.errors import RunError, UsageError
from rmmbench.running.installations import Code, arguments, revision, sweep_again


@pytest.fixture
def python(tmp_path):
    """Make a program in a Python's place, of some lines of shell; $out is the last argument."""

    def make(lines):
        file = tmp_path / "python"
        file.write_text(f"#!/bin/sh\nfor out; do :; done\n{lines}\n")
        file.chmod(0o755)
        return Code(python=str(file))

    return make


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository of two commits, of which the first says 'old' in pkg/said.py."""
    root = tmp_path / "repository"
    (root / "pkg").mkdir(parents=True)
    monkeypatch.chdir(root / "pkg")
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q", root], check=True)
    for word in ("old", "new"):
        (root / "pkg" / "said.py").write_text(f"WORD = '{word}'\n")
        subprocess.run(["git", "add", "."], check=True, cwd=root)
        subprocess.run(["git", *author, "commit", "-qm", word], check=True, cwd=root)
    hook = root / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'hooked'}\n")
    hook.chmod(0o755)
    return root


def test_arguments_are_the_sweeps(make_run, make_record, monkeypatch, tmp_path):
    """The words after `rmmbench sweep` are given again, a profile's file by its whole path."""
    run = make_run(make_record())
    assert arguments(run) == ["golden"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "golden").touch()
    assert arguments(run) == [str(tmp_path / "golden")]


def test_another_command_is_refused(make_run, make_record):
    """What no sweep wrote cannot be measured again, and the message has what wrote it."""
    run = make_run(make_record())
    run.info = run.info.model_copy(update={"command": "rmmbench train digits"})
    with pytest.raises(UsageError, match=r"written by `rmmbench sweep` .* not by `rmmbench train"):
        arguments(run)


def test_run_is_kept_where_it_was_told_to(make_run, make_record, python, tmp_path):
    """The last word is --out's, cases that failed included."""
    run = make_run(make_record())
    code = python(f"cp -r {run.path} $out; exit 7")
    again = sweep_again(run, code, tmp_path / "again")
    assert again.records() == run.records()


def test_other_code_in_a_revisions_place(make_run, make_record, python, tmp_path):
    """A run whose records say another commit than the one asked for is no run of it."""
    there = make_record().environment.model_copy(update={"commit": "b" * 40})
    run = make_run(make_record(environment=there))
    code = replace(python(f"cp -r {run.path} $out"), commit="a" * 40)
    with pytest.raises(RunError, match=r"revision a{12} was to be measured, .* place at b{12};"):
        sweep_again(run, code, tmp_path / "wrong")
    assert sweep_again(run, replace(code, commit="b" * 40), tmp_path / "right").records()


def test_sweep_that_ends_without_records(make_run, make_record, python, tmp_path):
    """The message is the sweep's own last line, with its exit code."""
    run = make_run(make_record())
    with pytest.raises(RunError, match=r"ended with 2: error: no profile named 'golden'$"):
        sweep_again(run, python("echo error: no profile named \\'golden\\' >&2; exit 2"), tmp_path)
    with pytest.raises(UsageError, match="nowhere/python cannot be run: No such file"):
        sweep_again(run, Code(python="nowhere/python"), tmp_path)


def test_revision_is_what_is_imported(repository, monkeypatch, tmp_path):
    """Its code is found from the same place of the tree, and nothing is left of it afterwards."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(repository), str(tmp_path)]))
    monkeypatch.syspath_prepend(str(repository))
    with revision("HEAD~1", repository / "pkg") as code:
        assert code.folder.name == "pkg"
        program = [sys.executable, "-c", "import pkg.said; print(pkg.said.WORD)"]
        said = subprocess.check_output(
            program, text=True, cwd=tmp_path, env=os.environ | code.variables
        )
        assert said == "old\n"
        assert str(tmp_path) in code.variables["PYTHONPATH"].split(os.pathsep)
        assert str(repository) not in code.variables["PYTHONPATH"].split(os.pathsep)
        head = subprocess.check_output(["git", "rev-parse", "HEAD~1"], text=True, cwd=repository)
        assert code.commit == head.strip()
    assert not code.folder.exists()
    assert not (tmp_path / "hooked").exists()
    listed = subprocess.check_output(["git", "worktree", "list"], text=True, cwd=repository)
    assert len(listed.splitlines()) == 1


def test_no_such_revision(repository, tmp_path):
    """A name that git does not know, and a folder without git, are one line each."""
    with pytest.raises(UsageError, match=r"has no git revision 'nowhere'; give .* Python$"):
        revision("nowhere", repository).__enter__()
    with pytest.raises(UsageError, match="not a git repository"):
        revision("HEAD", tmp_path).__enter__()


def test_no_git(repository, monkeypatch):
    """Without git only installations can be compared, and that is said."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="only be measured where git is installed"):
        revision("HEAD", repository).__enter__()
