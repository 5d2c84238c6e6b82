"""A run directory: run.json says what was asked, records.jsonl what came of it, a line a case.

records.jsonl is the one source of truth. It is only ever appended to, a whole line at a time,
flushed to the disk; a line that was torn by a crash is dropped when the run goes on.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from rmmbench.errors import RunError
from rmmbench.profile import Profile
from rmmbench.ranges import Line
from rmmbench.record import SCHEMA_VERSION, Conditions, Environment, Memory, Record, Timing

if TYPE_CHECKING:
    import pandas as pd

RUN_FILE, RECORDS_FILE, LOCK_FILE = "run.json", "records.jsonl", ".lock"
CHECKPOINTS = "checkpoints"


class RunInfo(BaseModel):
    """What a run directory says of itself.

    Attributes:
        profile_name: As it was asked for.
        profile: With the command line's changes in it.
        profile_hash: Of the cases; two runs with one hash measured the same things.
        command: The command line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    rmmbench: Line
    profile_name: Line
    profile: Profile
    profile_hash: Line
    environment: Environment
    command: Line
    started_at: Line


class Run:
    """A run directory on disk."""

    def __init__(self, path: Path, info: RunInfo) -> None:
        """Stand for the directory at `path`; `create` and `open` make one."""
        self.path = path
        self.info = info

    @classmethod
    def create(cls, path: Path, info: RunInfo) -> "Run":
        """Make a run directory, or open the one that is there if it measures the same.

        Raises:
            RunError: If `path` holds another run or something else, or cannot be written.
        """
        if (path / RUN_FILE).exists():
            run = cls.open(path)
            run._same_as(info)
            return run
        # What a sweep that was killed right here may have left.
        partial = path / f"{RUN_FILE}.partial"
        leftovers = {partial, path / LOCK_FILE}
        if path.exists() and (not path.is_dir() or set(path.iterdir()) - leftovers):
            raise RunError(f"{path} is not empty and not a run directory; give another with --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
            partial.write_text(info.model_dump_json(indent=2) + "\n", encoding="utf-8")
            partial.replace(path / RUN_FILE)
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
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except OSError:
            hint = "give the directory that `rmmbench sweep` wrote"
            raise RunError(f"{path} is not a run directory: it has no {RUN_FILE}; {hint}") from None
        except ValueError as error:
            raise RunError(f"{file} must be JSON: {error}") from None
        _same_schema(file, data)
        try:
            return cls(path, RunInfo.model_validate(data))
        except ValidationError as error:
            raise RunError(f"{file} is not of a run: {_fault(error)}") from None

    def records(self) -> list[Record]:
        """Return every record, in the order they were made; a torn last line is not one.

        Raises:
            RunError: If another line is no record.
        """
        file = self.path / RECORDS_FILE
        if not file.is_file():
            return []
        lines = file.read_bytes().split(b"\n")
        # What follows the last newline was never finished.
        return [
            _record(file, number, line) for number, line in enumerate(lines[:-1], 1) if line.strip()
        ]

    def append(self, record: Record) -> None:
        """Write one record to the end of records.jsonl and to the disk.

        Raises:
            RunError: If it cannot be written; the records before it stand.
        """
        import os

        file = self.path / RECORDS_FILE
        try:
            with file.open("ab") as stream:
                stream.write(record.model_dump_json().encode() + b"\n")
                stream.flush()
                if file.is_file():
                    os.fsync(stream.fileno())
        except OSError as error:
            reason = f"{file} cannot be written: {error.strerror}"
            raise RunError(f"{reason}; free space and run the same command to go on") from error

    def drop_checkpoints(self, key: str) -> None:
        """Remove what a run of training would have gone on from; its record is there now."""
        shutil.rmtree(self.path / CHECKPOINTS / key, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory alone, with whatever a crash left half-written removed.

        Raises:
            RunError: If another sweep holds it, or it cannot be locked.
        """
        lock = FileLock(self.path / LOCK_FILE, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                f"{self.path} is in use by another sweep; wait for it or give --out"
            ) from None
        except OSError as error:
            reason = f"{self.path} cannot be locked: {error.strerror}"
            raise RunError(f"{reason}; give another directory with --out") from error
        try:
            self._drop_torn_line()
            yield
        finally:
            lock.release()

    def copy_to(self, path: Path) -> None:
        """Copy run.json and the records to `path`; what is there stays until both are whole."""
        path.mkdir(parents=True, exist_ok=True)
        names = (RUN_FILE, RECORDS_FILE)
        for name in names:
            shutil.copyfile(self.path / name, path / f"{name}.partial")
        for name in names:
            (path / f"{name}.partial").replace(path / name)

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
        if self.info.profile_hash != info.profile_hash:
            there = f"{self.path} holds other cases (profile '{self.info.profile_name}')"
            raise RunError(f"{there}; give another directory with --out")
        for name in ("gpu", "torch", "transformers"):
            old, new = getattr(self.info.environment, name), getattr(info.environment, name)
            if old != new:
                there = f"{self.path} was measured with {name} {old}, here it is {new}"
                raise RunError(f"{there}; give another directory with --out")


def frame(records: Iterable[Record]) -> "pd.DataFrame":
    """Return the records as a table, one row a case, with what only a look at its cell can tell.

    Adds to `Record.row`: `saving`, the fraction of exact's peak_allocated_bytes in the same cell
    that is saved, and `saved_bytes_saving`, the same of saved_bytes. Missing numbers are NA, and
    integers stay integers beside them. Of a case that was measured again the last record counts.
    """
    import pandas as pd

    latest = {record.key: record for record in records}
    table = pd.DataFrame([record.row() for record in latest.values()])
    if table.empty:
        return table
    table = table.astype({name: _dtype(name) for name in table.columns})
    exact = table[table["method"] == "exact"].drop_duplicates("cell").set_index("cell")
    for column, name in (("saving", "peak_allocated_bytes"), ("saved_bytes_saving", "saved_bytes")):
        reference = table["cell"].map(exact[name]).astype("Int64")
        reference = reference.mask(reference == 0)
        table[column] = (1 - table[name] / reference).astype("Float64")
    return table


_INTEGERS = {"batch_size", "seq_len", "seed", "train_steps"}
_INTEGERS |= {"bits", "group_size", "activation_bits", "gradient_draws", "memory_limit_bytes"}
_INTEGERS |= {"proj_dim", "min_proj_dim", "max_proj_dim", "block_rows"}
_INTEGERS |= {"foreign_processes", *Memory.model_fields}
_FRACTIONS = {"rho", *Timing.model_fields, *Conditions.model_fields}
_FRACTIONS |= {"budget", "gradient_error", "gradient_error_spread"}
_FRACTIONS |= {"score", "train_loss", "eval_loss", "train_seconds", "train_samples_per_second"}


def _dtype(column: str) -> str:
    # `device` is the case's, not that of a memory's fields.
    special = {"throttle_reasons": "object", "device": "string", "share": "boolean"}
    special["higher_is_better"] = "boolean"
    if column in special:
        return special[column]
    if column in _INTEGERS:
        return "Int64"
    return "Float64" if column in _FRACTIONS else "string"


def _record(file: Path, number: int, line: bytes) -> Record:
    try:
        data = json.loads(line)
    except ValueError:
        raise RunError(f"{file}:{number} is not JSON; remove the line, the others stand") from None
    _same_schema(f"{file}:{number}", data)
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        raise RunError(
            f"{file}:{number} is not a record: {_fault(error)}; remove the line"
        ) from None


def _same_schema(where: object, data: Any) -> None:
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        hint = "measure again, or use the rmmbench that wrote it"
        raise RunError(f"{where} must have schema_version {SCHEMA_VERSION}, got {version}; {hint}")


def _fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
