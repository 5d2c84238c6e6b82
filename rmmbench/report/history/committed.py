"""What git has of a run: the commits that changed its records, and the files at each."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rmmbench.errors import RunError, UsageError
from rmmbench.measures.repository import git
from rmmbench.results.reading import Shared, parsed
from rmmbench.results.record import Record
from rmmbench.results.store import RECORDS_FILE, RUN_FILE, RunInfo, records_of
from rmmbench.spec.printable import printable

_FORMAT: Final = "--format=%H%x1f%ct%x1f%s"
_HINT: Final = "walk others with --commits"


@dataclass(frozen=True)
class Found:
    """A commit.

    Attributes:
        moment: When it was committed, in ISO 8601 and UTC.
        title: The first line of its message.
    """

    commit: str
    moment: str
    title: str


def short(commit: str) -> str:
    """Return the first digits of a commit's hash."""
    return commit[:8]


def known(folder: Path, commits: list[str]) -> dict[str, Found]:
    """Return those of some commits that the repository around a folder has, by their hash."""
    if not commits:
        return {}
    asked = ["log", "--no-walk=unsorted", "--ignore-missing", _FORMAT, "--end-of-options"]
    try:
        done = git(folder, *asked, *commits, "--")
    except OSError:
        return {}
    return {found.commit: found for found in _parsed(done.stdout)} if not done.returncode else {}


def walk(folder: Path, commits: str | None) -> list[Found]:
    """Return the commits that changed a run's records, oldest first.

    Of a merge only the branch that was merged into is walked, so that each commit has one before.

    Raises:
        UsageError: If the folder is in no git repository, git is missing, the commits are unknown,
            or none of them has the records.
    """
    _require_repository(folder)
    asked = ["log", "--first-parent", "--reverse", "--no-show-signature", _FORMAT]
    done = _run(folder, *asked, "--end-of-options", commits or "HEAD", "--", RECORDS_FILE)
    if done is None and commits is not None:
        hint = "give a branch, a tag, a commit or FROM..TO"
        raise UsageError(f"git knows no commits '{printable(commits, 100)}'; {hint}")
    found = _parsed(done or "")
    if not found:
        hint = "commit it, or give a folder of runs"
        raise UsageError(f"git has no commit of {folder / RECORDS_FILE}; {hint}")
    return found


def is_shallow(folder: Path) -> bool:
    """Return whether a repository was cloned without its older commits."""
    return (_run(folder, "rev-parse", "--is-shallow-repository") or "").strip() == "true"


def read(folder: Path, at: Found, shared: Shared[Record]) -> tuple[RunInfo, tuple[Record, ...]]:
    """Return what a run's two files held at a commit; the last record of each case counts.

    Raises:
        RunError: If they are not those of a run, or were deleted.
    """
    texts = []
    for name in (RUN_FILE, RECORDS_FILE):
        text = _run(folder, "cat-file", "blob", f"{at.commit}:./{name}")
        if text is None:
            raise RunError(f"{short(at.commit)} has no {name}; {_HINT}")
        texts.append(text.encode())
    info = parsed(RunInfo, texts[0], f"{RUN_FILE} at {short(at.commit)}", f"; {_HINT}")
    lines = texts[1].split(b"\n")[:-1]  # the last line was not finished
    where = f"{RECORDS_FILE} at {short(at.commit)}"
    records = {each.key: each for each in records_of(lines, where, _HINT, shared)}
    return info, tuple(records.values())


def _require_repository(folder: Path) -> None:
    try:
        done = git(folder, "rev-parse", "--is-inside-work-tree")
    except FileNotFoundError:
        raise UsageError("the history of one run can only be read where git is installed") from None
    if done.returncode:
        hint = "give a folder of runs, or a run that git tracks"
        raise UsageError(f"{folder} is one run and in no git repository; {hint}")


def _run(folder: Path, *words: str) -> str | None:
    """Return what git prints in a folder; None if it fails."""
    done = git(folder, *words)
    return None if done.returncode else done.stdout


def _parsed(text: str) -> list[Found]:
    found = []
    for line in text.strip("\n").split("\n") if text else ():
        commit, seconds, title = line.split("\x1f", 2)
        moment = datetime.fromtimestamp(int(seconds), UTC).isoformat(timespec="seconds")
        found.append(Found(commit, moment, printable(title, 200)))
    return found
