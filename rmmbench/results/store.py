"""A run directory: run.json has the profile, records.jsonl a line per case.

records.jsonl is the source of all results. Whole lines are appended and flushed to the disk; a line
that a crash has cut short is dropped when the run goes on.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from rmmbench.errors import RunError
from rmmbench.results.migration import SCHEMA_VERSION, former_key
from rmmbench.results.reading import Shared, content_of, lines_of, parsed, uncollected
from rmmbench.results.record import Environment, Record
from rmmbench.results.whole_file import write_whole
from rmmbench.spec.case import Case, text_digest
from rmmbench.spec.profile import Profile
from rmmbench.spec.ranges import Line

if TYPE_CHECKING:
    from pandas import DataFrame

RUN_FILE, RECORDS_FILE, LOCK_FILE = "run.json", "records.jsonl", ".lock"
CHECKPOINTS = "checkpoints"


class RunInfo(BaseModel):
    """What run.json says of a run.

    Attributes:
        profile_name: The profile's name or path, as it was given.
        profile: The profile with the command line's changes.
        profile_hash: A hash of the cases' keys; runs with the same hash measured the same cases.
        former_hash: The hash of the cases' version 1 keys; None in runs of that version.
        command: The command line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    rmmbench: Line
    profile_name: Line
    profile: Profile
    profile_hash: Line
    former_hash: Line | None = None
    environment: Environment
    command: Line
    started_at: Line

    def measures_as(self, other: "RunInfo") -> bool:
        """Return whether this run and another measure the same things."""
        if self.schema_version == other.schema_version:
            return self.profile_hash == other.profile_hash
        old, new = sorted((self, other), key=lambda info: info.schema_version)
        return old.profile_hash == new.former_hash


def hashes(cases: Iterable[Case]) -> dict[str, Any]:
    """Return the fields of `RunInfo` that identify a set of cases, whatever their order."""
    cases = list(cases)
    keys = {"profile_hash": [c.key for c in cases], "former_hash": [former_key(c) for c in cases]}
    return {name: text_digest("\n".join(sorted(each))) for name, each in keys.items()}


def shared_records(*more: str, most: int = 1000) -> Shared[Record]:
    """Return what reads records and shares what many have in common, and `more` fields."""
    return Shared(Record, {"environment", "memory", "missing", *more}, most)


def records_of(
    lines: Iterable[bytes], where: object, hint: str, shared: Shared[Record] | None = None
) -> Iterator[Record]:
    """Yield the records of lines of JSON as they come.

    Args:
        lines: Without their ends.
        where: Names the lines' file in a message.
        hint: Says in a message what to do.
        shared: Shares equal parts with records read before.

    Raises:
        RunError: If a line is not a record.
    """
    shared = shared or shared_records()
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield shared.read(line) or parsed(Record, line, f"{where}:{number}", f"; {hint}")


class Run:
    """A run directory on disk."""

    def __init__(self, path: Path, info: RunInfo) -> None:
        """Stand for the directory at `path`; `create` and `open` make one."""
        self.path = path
        self.info = info

    @classmethod
    def create(cls, path: Path, info: RunInfo) -> "Run":
        """Make a run directory, or open the one that is there if it measures the same cases.

        Raises:
            RunError: If `path` holds another run or something else, or cannot be written.
        """
        if (path / RUN_FILE).exists():
            run = cls.open(path)
            run._same_as(info)
            return run
        # A sweep that was killed here may have left these.
        leftovers = {path / f"{RUN_FILE}.partial", path / LOCK_FILE}
        if path.exists() and (not path.is_dir() or set(path.iterdir()) - leftovers):
            raise RunError(f"{path} is not empty and not a run directory; give another with --out")
        try:
            write_whole(path / RUN_FILE, info.model_dump_json(indent=2).encode() + b"\n")
        except OSError as error:
            raise RunError(
                f"{path} cannot be written: {error.strerror}; free space or give --out"
            ) from error
        return cls(path, info)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open the run directory at `path`.

        Raises:
            RunError: If it is not one, or of another schema version.
        """
        file = path / RUN_FILE
        data = content_of(file)
        if data is None:
            hint = "give the directory that `rmmbench sweep` wrote"
            raise RunError(f"{path} is not a run directory: it has no {RUN_FILE}; {hint}")
        return cls(path, parsed(RunInfo, data, file, "; give another run"))

    @uncollected()
    def records(self, shared: Shared[Record] | None = None) -> list[Record]:
        """Return the last record of every case, in the order of the cases' first records.

        Args:
            shared: Shares equal parts with records read before.

        Raises:
            RunError: If a line is not a record.
        """
        return list({record.key: record for record in self.each_record(shared)}.values())

    def each_record(self, shared: Shared[Record] | None = None) -> Iterator[Record]:
        """Yield the records as they were written, including those that a later record replaces.

        Raises:
            RunError: If a line is not a record; a last line that was cut short is left out.
        """
        file = self.path / RECORDS_FILE
        yield from records_of(lines_of(file), file, "remove the line", shared)

    def frame(self) -> "DataFrame":
        """Return a pandas DataFrame with a row per case and the columns of `rmmbench export`.

        Missing numbers are NaN or None. `rmmbench docs results` has the unit of every column.

        Raises:
            RunError: If a record cannot be read.
        """
        from pandas import DataFrame

        from rmmbench.results.tidy import read_rows

        return DataFrame(read_rows(self.each_record()))

    def append(self, record: Record) -> None:
        """Append one record to records.jsonl, and flush it to the disk.

        Raises:
            RunError: If it cannot be written; the records before it stay.
        """
        import os

        file = self.path / RECORDS_FILE
        try:
            with file.open("ab") as stream:
                stream.write(_line(record) + b"\n")
                stream.flush()
                if file.is_file():
                    os.fsync(stream.fileno())
        except OSError as error:
            reason = f"{file} cannot be written: {error.strerror}"
            raise RunError(f"{reason}; free space and run the same command to go on") from error

    def __repr__(self) -> str:
        counts = Counter(record.outcome for record in self.records())
        came = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        return f"Run({str(self.path)!r}: {self.info.profile.title}; {came or 'no records'})"

    def drop_checkpoints(self, key: str) -> None:
        """Remove the checkpoints of a case whose training is done and recorded."""
        for folder in (self.path / CHECKPOINTS).glob(f"{key}*"):
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def locked(self, wait_seconds: float = 0.0, hint: str = "give --out") -> Iterator[None]:
        """Lock the directory, and remove a line that a crash has cut short.

        Args:
            wait_seconds: How long another may go on holding the lock.
            hint: What else a message tells to do.

        Raises:
            RunError: If another sweep holds the lock, or the directory cannot be locked.
        """
        lock = FileLock(self.path / LOCK_FILE)
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout:
            raise RunError(
                f"{self.path} is in use by another sweep; wait for it or {hint}"
            ) from None
        except OSError as error:
            reason = f"{self.path} cannot be locked: {error.strerror}"
            raise RunError(f"{reason}; give another directory, or {hint}") from error
        try:
            self._drop_torn_line()
            yield
        finally:
            lock.release()

    def copy_to(self, path: Path) -> None:
        """Copy run.json and the records to `path`; old files stay until both copies are whole."""
        path.mkdir(parents=True, exist_ok=True)
        names = (RUN_FILE, RECORDS_FILE)
        for name in names:
            shutil.copyfile(self.path / name, path / f"{name}.partial")
        for name in names:
            (path / f"{name}.partial").replace(path / name)

    def check_machine(self, environment: Environment, hint: str) -> None:
        """Check that a run may go on here.

        Raises:
            RunError: If it was begun on another machine, or with other versions.
        """
        changed = self.info.environment.changes(environment)
        if changed:
            told = "; ".join(f"{name} {old}, here it is {new}" for name, old, new in changed)
            there = f"{self.path} was measured with {told}"
            raise RunError(f"{there}; go on where and as it was begun, or {hint}")

    def _drop_torn_line(self) -> None:
        file = self.path / RECORDS_FILE
        if not file.is_file():
            return
        data = file.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with file.open("r+b") as stream:
                stream.truncate(whole)

    def _same_as(self, info: RunInfo) -> None:
        hint = "give another directory with --out"
        if not self.info.measures_as(info):
            there = f"{self.path} holds other cases (profile '{self.info.profile_name}')"
            raise RunError(f"{there}; {hint}")
        self.check_machine(info.environment, hint)


_MEASURED: Final = ("memory", "timing", "conditions", "counts")


def _line(record: Record) -> bytes:
    """Return a record as a line; if it could not be read again, a record of an error instead."""
    try:
        line = record.model_dump_json().encode()
        Record.model_validate_json(line)
    except ValueError as error:
        instead = {
            "key": record.key,
            "case": record.case,
            "outcome": "error",
            "reason": f"what was measured makes no record: {error}",
            "environment": record.environment,
            "missing": dict.fromkeys(_MEASURED, "they make no record"),
        }
        line = Record.model_validate(instead).model_dump_json().encode()
    return line
