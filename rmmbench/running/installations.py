"""Runs a sweep again in a process of its own, with this code or another installation's."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rmmbench.errors import Exit, RunError, UsageError
from rmmbench.measures.repository import git
from rmmbench.results.record import Record
from rmmbench.results.store import Run
from rmmbench.running.isolation.leftovers import Folder
from rmmbench.spec.printable import printable

_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Code:
    """The code that a sweep runs with.

    Attributes:
        python: The interpreter, which decides the installed packages.
        folder: The working directory, which decides the modules that `import:` finds.
        variables: Environment variables besides this process's own.
        commit: The commit that its records must name; None for any.
    """

    python: str = sys.executable
    folder: Path = field(default_factory=Path.cwd)
    variables: dict[str, str] = field(default_factory=dict)
    commit: str | None = None


def arguments(run: Run) -> list[str]:
    """Return the command-line arguments of the sweep that wrote a run directory.

    Raises:
        UsageError: If another command wrote it.
    """
    words = shlex.split(run.info.command)
    if words[:2] != ["rmmbench", "sweep"]:
        what = f"{run.path} must have been written by `rmmbench sweep` to be measured again"
        raise UsageError(f"{what}, not by `{printable(run.info.command, 100)}`")
    # A profile's file is the same for both codes, whichever directory they run in.
    profile = Path(run.info.profile_name)
    place = {run.info.profile_name: str(profile.resolve())} if profile.is_file() else {}
    return [place.get(word, word) for word in words[2:]]


def sweep_again(
    run: Run, code: Code, out: Path, heard: Callable[[list[Record]], None] = lambda records: None
) -> Run:
    """Measure a run's cases again into `out`, and return the new run.

    Args:
        run: Written by a sweep.
        code: What measures.
        out: The new run directory.
        heard: Called every second with the records that there are.

    Raises:
        UsageError: If `run` was not written by a sweep.
        RunError: If the sweep failed, or measured other code.
    """
    out = out.resolve()
    command = [code.python, "-m", "rmmbench", "sweep", *arguments(run), "--out", str(out)]
    try:
        sweep = subprocess.Popen(
            command,
            cwd=code.folder,
            env=os.environ | code.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise UsageError(f"{code.python} cannot be run: {error.strerror}") from error
    said = _watched(sweep, out, heard)
    # Failed cases have records too, which can be compared.
    if sweep.returncode not in (Exit.OK, Exit.SOME_FAILED):
        last = printable(said.strip().rpartition("\n")[2], 300)
        raise RunError(f"`{shlex.join(command)}` ended with {sweep.returncode}: {last}")
    again = Run.open(out)
    heard(again.records())
    _require_commit(again, code)
    return again


def _so_far(out: Path) -> list[Record]:
    """Return the records that a sweep has written; none where there is no run yet."""
    try:
        return Run.open(out).records()
    except RunError:
        return []


def _watched(sweep: subprocess.Popen[str], out: Path, heard: Callable[[list[Record]], None]) -> str:
    """Wait for the end of a sweep, and return what it said; it ends with this, however it does."""
    with sweep:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return sweep.communicate(timeout=_LOOK_SECONDS)[1]
                heard(_so_far(out))
        except BaseException:
            sweep.kill()
            raise


@contextmanager
def revision(name: str, folder: Path) -> Iterator[Code]:
    """Check out a revision of the git repository around `folder`, and give its code.

    The worktree is temporary: it is removed at the end, or by the next sweep. Whatever this Python
    imports from inside the repository is imported from the worktree instead.

    Raises:
        UsageError: If there is no git, no repository or no such revision.
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
    """Raise RunError if an installed copy was measured in place of the revision."""
    commits = {record.environment.commit for record in run.records()}
    others = [commit for commit in commits if commit not in (code.commit, None)]
    if code.commit and others:
        what = f"the revision {code.commit[:12]} was to be measured, and its code is imported"
        hint = "compare two installations, by the path of the other one's Python"
        raise RunError(f"{what} from a place at {str(others[0])[:12]}; {hint}")


def _moved(paths: list[str], root: Path, tree: Path) -> Iterator[str]:
    """Yield the import paths inside `root`, each at its place in `tree`.

    A virtual environment in the repository is left out: it is no part of a revision.
    """
    for path in map(Path, filter(None, paths)):
        place = path.resolve()
        is_own = place.is_relative_to(root) and "site-packages" not in place.parts
        if is_own and (tree / place.relative_to(root)).is_dir():
            yield str(tree / place.relative_to(root))


def _outside(root: Path) -> Iterator[str]:
    """Yield the paths of PYTHONPATH that are not inside `root`."""
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    yield from (path for path in given if not Path(path).resolve().is_relative_to(root))


def _git(folder: Path, *words: str) -> str:
    try:
        done = git(folder, *words)
    except FileNotFoundError:
        raise UsageError("a revision can only be measured where git is installed") from None
    if done.returncode:
        said = printable(done.stderr.strip().rpartition("\n")[2], 300)
        raise UsageError(f"`git {shlex.join(words)}` ended with {done.returncode}: {said}")
    return done.stdout.strip()
