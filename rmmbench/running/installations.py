"""Runs a sweep again, as a process of its own, with this code or another."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rmmbench.errors import Exit, RunError, UsageError
from rmmbench.results.store import Run
from rmmbench.running.isolation.leftovers import Folder
from rmmbench.spec.printable import printable


@dataclass(frozen=True)
class Code:
    """What a sweep runs with.

    Attributes:
        python: The interpreter, and so the installed packages.
        folder: The working directory, and so the modules that `import:` finds.
        variables: Of the environment, besides this process's own.
        commit: What its records must say that they measured; None if that may be anything.
    """

    python: str = sys.executable
    folder: Path = field(default_factory=Path.cwd)
    variables: dict[str, str] = field(default_factory=dict)
    commit: str | None = None


def arguments(run: Run) -> list[str]:
    """Return the arguments of the sweep that wrote a run directory, to give them again.

    Raises:
        UsageError: If another command wrote it.
    """
    words = shlex.split(run.info.command)
    if words[:2] != ["rmmbench", "sweep"]:
        what = f"{run.path} must have been written by `rmmbench sweep` to be measured again"
        raise UsageError(f"{what}, not by `{printable(run.info.command, 100)}`")
    # A profile's file is the same for both codes, whatever directory they run in.
    profile = Path(run.info.profile_name)
    place = {run.info.profile_name: str(profile.resolve())} if profile.is_file() else {}
    return [place.get(word, word) for word in words[2:]]


def sweep_again(run: Run, code: Code, out: Path) -> Run:
    """Measure what a run measured once more, into `out`, and return that run.

    Raises:
        UsageError: If `run` was not written by a sweep.
        RunError: If nothing came of it, or it measured other code.
    """
    out = out.resolve()
    command = [code.python, "-m", "rmmbench", "sweep", *arguments(run), "--out", str(out)]
    try:
        done = subprocess.run(
            command,
            cwd=code.folder,
            env=os.environ | code.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise UsageError(f"{code.python} cannot be run: {error.strerror}") from error
    # Cases that failed have their records, which the comparison is about.
    if done.returncode not in (Exit.OK, Exit.SOME_FAILED):
        said = printable(done.stderr.strip().rpartition("\n")[2], 300)
        raise RunError(f"`{shlex.join(command)}` ended with {done.returncode}: {said}")
    again = Run.open(out)
    _require_commit(again, code)
    return again


@contextmanager
def revision(name: str, folder: Path) -> Iterator[Code]:
    """Check out a revision of the git repository about `folder`, and give the code that it is.

    The worktree is a temporary one, removed at the end, or by whatever sweep comes next. What this
    Python imports from inside of the repository is imported from the worktree in its place.

    Raises:
        UsageError: If there is no git, repository or such revision.
    """
    root = Path(_git(folder, "rev-parse", "--show-toplevel")).resolve()
    try:
        commit = _git(root, "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
    except UsageError:
        hint = "give the name of a commit, or the path of another installation's Python"
        raise UsageError(f"{root} has no git revision '{printable(name, 100)}'; {hint}") from None
    place = Folder()
    try:
        tree = place.path.resolve() / "tree"
        _git(root, "worktree", "add", "--detach", str(tree), commit)
        try:
            paths = [*_moved(sys.path, root, tree), *_outside(root)]
            variables = {"PYTHONPATH": os.pathsep.join(paths)}
            same_place = tree / folder.resolve().relative_to(root)
            yield Code(folder=same_place, variables=variables, commit=commit)
        finally:
            _git(root, "worktree", "remove", "--force", str(tree))
    finally:
        place.remove()


def _require_commit(run: Run, code: Code) -> None:
    """Make sure that an installed copy of the code did not take the place of a revision."""
    commits = {record.environment.commit for record in run.records()}
    others = [commit for commit in commits if commit not in (code.commit, None)]
    if code.commit and others:
        what = f"the revision {code.commit[:12]} was to be measured, and its code is imported"
        hint = "compare two installations, by the path of the other one's Python"
        raise RunError(f"{what} from a place at {str(others[0])[:12]}; {hint}")


def _moved(paths: list[str], root: Path, tree: Path) -> Iterator[str]:
    """Yield where modules are imported from, those inside of `root` by their place in `tree`.

    An environment in the repository stays: it is no part of a revision.
    """
    for path in map(Path, filter(None, paths)):
        place = path.resolve()
        is_own = place.is_relative_to(root) and "site-packages" not in place.parts
        if is_own and (tree / place.relative_to(root)).is_dir():
            yield str(tree / place.relative_to(root))


def _outside(root: Path) -> Iterator[str]:
    """Yield what the environment adds to the path from elsewhere than `root`."""
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    yield from (path for path in given if not Path(path).resolve().is_relative_to(root))


def _git(folder: Path, *words: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise UsageError("a revision can only be measured where git is installed")
    # A checkout for a moment is none that a hook should know of.
    command = [git, "-c", f"core.hooksPath={os.devnull}", "-C", str(folder), *words]
    # Within a hook git names the repository that it runs for, which need not be this one.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=plain, check=False
    )
    if done.returncode:
        said = printable(done.stderr.strip().rpartition("\n")[2], 300)
        raise UsageError(f"`git {shlex.join(words)}` ended with {done.returncode}: {said}")
    return done.stdout.strip()
