"""The runs of a history, oldest first: those of a folder, or one run's states in git."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rmmbench.errors import ArgumentError, RunError
from rmmbench.report.check import baseline as baselines
from rmmbench.report.history import committed
from rmmbench.results.reading import Shared
from rmmbench.results.record import Record
from rmmbench.results.store import RECORDS_FILE, RUN_FILE, Run, RunInfo, shared_records
from rmmbench.units import format_count


@dataclass(frozen=True)
class Commit:
    """The code that a run measured, or the commit that a run's records came with.

    Attributes:
        code: What runs of the same code share; runs of changed files share it with no other.
        name: For people: the first digits of the hash, with "+" if files were changed; the run's
            name where no commit is known.
        moment: When it was committed, or else measured, in ISO 8601.
        title: The first line of its message; "" if it is not known.
        place: The run's path, or the whole hash.
    """

    code: str
    name: str
    moment: str
    title: str = ""
    place: str = ""


@dataclass(frozen=True)
class Snapshot:
    """A run's records, with the commit that they belong to."""

    commit: Commit
    info: RunInfo
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Snapshots:
    """The runs of a history, oldest first.

    Attributes:
        source: What was read, in words.
        notes: What could not be read, a line each.
    """

    source: str
    runs: tuple[Snapshot, ...]
    notes: tuple[str, ...] = ()


def read_snapshots(path: Path | str, commits: str | None = None) -> Snapshots:
    """Return the runs in a folder, or all committed states of one run.

    Args:
        path: A folder with run directories in it; or a run directory, or the name of a baseline
            that comes with rmmbench, whose records git tracks.
        commits: Which commits to walk, as `git log` takes them: a branch, a tag, or FROM..TO.

    Raises:
        RunError: If there are fewer than two, or a run of a folder cannot be read.
        UsageError: If git does not track the run, or does not know the commits.
    """
    folder = baselines.find(str(path))
    if folder.name == RECORDS_FILE:
        folder = folder.parent
    if (folder / RUN_FILE).exists() or (folder / RECORDS_FILE).exists():
        return _committed(folder, commits)
    if commits is not None:
        rest = f" walks the commits of one run, got the folder {folder}; give one run's directory"
        raise ArgumentError("commits", rest)
    paths = sorted(file.parent for file in folder.glob(f"*/{RUN_FILE}"))
    if not paths:
        hint = "give a folder with run directories in it, or a run that git tracks"
        raise RunError(f"{folder} must have runs, and has none; {hint}")
    return of_runs([Run.open(each) for each in paths], str(folder))


def of_runs(runs: Sequence[Run], source: str = "") -> Snapshots:
    """Return runs in the order of their commits, or of their times if git does not know them all.

    Raises:
        RunError: If fewer than two have records, or a record cannot be read.
    """
    shared = shared_records("case", most=100_000)
    parts = [part for run in runs for part in _parts(run, shared)]
    found = _known(runs, parts)
    snapshots = [
        Snapshot(_commit(part, found), part.run.info, part.records)
        for part in _ordered(parts, found)
    ]
    measured = {part.run.path for part in parts}
    empty = [run.path for run in runs if run.path not in measured]
    notes = [f"{path} has no records and is left out" for path in empty]
    hint = "measure another commit into the same folder"
    source = source or format_count(len(runs), "run")
    return _several(Snapshots(source, tuple(snapshots), tuple(notes)), hint)


@dataclass(frozen=True)
class _Part:
    """The records of a run that were measured at one commit: the last of each case.

    Attributes:
        code: The commit, and whether files of it were changed.
    """

    run: Run
    code: tuple[str | None, bool | None]
    started_at: str
    records: tuple[Record, ...]


def _parts(run: Run, shared: Shared[Record]) -> list[_Part]:
    """Return a run by the commits of its records: it may have gone on after a change."""
    found: dict[tuple[str | None, bool | None], dict[str, Record]] = {}
    for record in run.each_record(shared):
        of = record.environment
        found.setdefault((of.commit, of.dirty), {})[record.key] = record
    if len(found) == 1:
        ((code, records),) = found.items()
        return [_Part(run, code, run.info.started_at, tuple(records.values()))]
    return [
        _Part(run, code, min(each.started_at for each in records.values()), (*records.values(),))
        for code, records in found.items()
    ]


def _known(runs: Sequence[Run], parts: Iterable[_Part]) -> dict[str, committed.Found]:
    """Return what git knows of the runs' commits, in their own repository or around us."""
    commits = sorted({part.code[0] or "" for part in parts} - {""})
    for folder in (*(run.path for run in runs[:1]), Path()):
        if found := committed.known(folder, commits):
            return found
    return {}


def _ordered(parts: Sequence[_Part], found: Mapping[str, committed.Found]) -> list[_Part]:
    """Return the parts from the oldest commit on; those of one are together, by their times."""
    is_known = all(part.code[0] in found for part in parts)
    first: dict[str, str] = {}
    for part in parts:
        code, moment = _commit(part, found).code, _utc(part.started_at)
        first[code] = min(moment, first.get(code, moment))

    def order(part: _Part) -> tuple[str, str, str]:
        commit = _commit(part, found)
        committed_at = commit.moment if is_known else ""
        return committed_at, first[commit.code], _utc(part.started_at)

    return sorted(parts, key=order)


def _commit(part: _Part, found: Mapping[str, committed.Found]) -> Commit:
    (commit, is_dirty), place = part.code, str(part.run.path)
    if commit is None:
        return Commit(place, part.run.path.name, part.started_at, "", place)
    known = found.get(commit)
    name = committed.short(commit) + "+" * bool(is_dirty)
    code = f"{commit} {place}" if is_dirty else commit
    moment = known.moment if known else part.started_at
    return Commit(code, name, moment, known.title if known else "", place)


def _committed(folder: Path, commits: str | None) -> Snapshots:
    """Return the states that git has of a run; what cannot be read any more is left out."""
    shared = shared_records("case", most=100_000)
    snapshots, notes = list[Snapshot](), list[str]()
    for found in committed.walk(folder, commits):
        name = committed.short(found.commit)
        try:
            info, records = committed.read(folder, found, shared)
        except RunError as error:
            notes.append(f"left out: {error}")
            continue
        commit = Commit(found.commit, name, found.moment, found.title, found.commit)
        if records:
            snapshots.append(Snapshot(commit, info, records))
        else:
            notes.append(f"left out: {name} has no records")
    hint = "commit the run again after a change"
    if committed.is_shallow(folder):
        hint = "fetch older commits, for this clone is shallow (fetch-depth: 0 in a workflow)"
    if len(notes) > 1:
        notes = [f"{notes[0]}; and {format_count(len(notes) - 1, 'commit')} more"]
    return _several(Snapshots(f"{folder} in git", tuple(snapshots), tuple(notes)), hint)


def _several(read: Snapshots, hint: str) -> Snapshots:
    if len(read.runs) < 2:
        found = "; ".join([counted(read.runs), *read.notes])
        raise RunError(f"a history takes two runs or more, and {read.source} has {found}; {hint}")
    return read


def _utc(moment: str) -> str:
    """Return a moment in UTC, so that texts are in the order of time."""
    try:
        return datetime.fromisoformat(moment).astimezone(UTC).isoformat()
    except ValueError:
        return moment


def counted(snapshots: Iterable[Snapshot]) -> str:
    """Return how many runs and commits there are: "12 runs of 8 commits"."""
    runs = list(snapshots)
    codes = {each.commit.code for each in runs}
    return f"{format_count(len(runs), 'run')} of {format_count(len(codes), 'commit')}"
