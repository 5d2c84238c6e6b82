"""Reads the files of a run strictly; a fault is reported in one line."""

import gc
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from rmmbench.errors import RunError
from rmmbench.results.migration import READ, SCHEMA_VERSION
from rmmbench.spec.printable import printable
from rmmbench.spec.strict import complaint

M = TypeVar("M", bound=BaseModel)

_CURRENT: Final = f'{{"schema_version":{SCHEMA_VERSION},'.encode()


def lines_of(file: Path) -> Iterator[bytes]:
    """Yield the lines of a file without their ends; nothing if there is no file.

    A last line without a newline was not finished, and is left out.

    Raises:
        RunError: If the path is not a file, or it cannot be read.
    """
    with _readable(file) as is_there:
        if is_there:
            with file.open("rb") as stream:
                yield from (line[:-1] for line in stream if line.endswith(b"\n"))


def content_of(file: Path) -> bytes | None:
    """Return the content of a file; None if there is no file.

    Raises:
        RunError: If the path is not a file, or it cannot be read.
    """
    with _readable(file) as is_there:
        return file.read_bytes() if is_there else None


@contextmanager
def _readable(file: Path) -> Iterator[bool]:
    """Yield whether a file is there; a pipe, which may never end, does not count."""
    try:
        is_there = file.exists()
        if is_there and not file.is_file():
            raise RunError(f"{file} must be a file, and is something else; mend it")
        yield is_there
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}; mend it") from error


def parsed(kind: type[M], data: bytes, where: object, hint: str) -> M:
    """Parse JSON as a model; `hint` says in the message what to do if it is not one.

    Raises:
        RunError: If the data is not JSON, has another schema version, or is not such a model.
    """
    try:
        model = kind.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        if fault["type"] == "json_invalid":
            raise RunError(f"{where} is not JSON{hint}") from None
        _same_schema(data, where)
        place = ".".join(map(str, fault["loc"])) or "it"
        told = complaint(fault).removeprefix(":").strip()
        noun = {"RunInfo": "of a run", "Record": "a record"}[kind.__name__]
        raise RunError(f"{where} is not {noun}: {printable(place, 200)}: {told}{hint}") from None
    if "schema_version" not in model.model_fields_set:
        _same_schema(data, where)
    return model


@contextmanager
def uncollected() -> Iterator[None]:
    """Stop Python's garbage collector, which would walk all records again and again.

    Reading and comparing records makes no garbage that only the collector could find.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Shared(Generic[M]):
    """Reads lines of JSON as models; parts with the same JSON, such as the machine, are read once.

    The JSON of a part is cut out of its line and replaced by null before the rest is read. No model
    takes null for an object, so a part that was cut out in a wrong place is noticed.
    """

    def __init__(self, kind: type[M], parts: Collection[str], most: int) -> None:
        """Share the fields `parts`, which hold JSON objects; keep at most `most` values."""
        self._most = most
        fields = list(kind.model_fields)
        after = dict(pairwise(fields))
        self._kind = kind
        self._parts = [
            (name, f'"{name}":'.encode(), f',"{after[name]}":'.encode())
            for name in fields
            if name in parts
        ]
        self._adapters = {
            name: TypeAdapter[Any](kind.model_fields[name].rebuild_annotation()) for name in parts
        }
        self._known: dict[tuple[str, bytes], Any] = {}
        self._given: dict[frozenset[str], set[str]] = {}

    def read(self, line: bytes) -> M | None:
        """Return the model of a line; None if the whole line must be parsed instead."""
        try:
            rest, parts = self._cut(line)
            told = from_json(rest)
            if told["schema_version"] not in READ or any(told[name] is not None for name in parts):
                return None
            # Parts that are not models would be validated again, so they are set afterwards.
            told |= {k: v if isinstance(v, BaseModel) else {} for k, v in parts.items()}
            model = self._kind.model_validate(told)
        except (ValueError, TypeError, KeyError):
            return None
        model.__dict__.update(parts)
        self._share_names(model, but=parts)
        return model

    def _share_names(self, model: BaseModel, but: Collection[str] = ()) -> None:
        """Share the sets of names of given fields, of the model and of its parts."""
        for name, part in model.__dict__.items():
            if isinstance(part, BaseModel) and name not in but:
                self._share_names(part)
        given = model.__pydantic_fields_set__
        kept = self._given.setdefault(frozenset(given), given)
        object.__setattr__(model, "__pydantic_fields_set__", kept)

    def _cut(self, line: bytes) -> tuple[bytes, dict[str, Any]]:
        """Return a line with null in place of its parts, and the parts."""
        pieces, parts, end = [], {}, 0
        is_current = line.startswith(_CURRENT)
        for name, before, after in self._parts:
            if name == "case" and not is_current:
                continue  # the case of an older record is migrated with the whole record
            start = line.find(before + b"{", end) + len(before)
            stop = line.find(after, start)
            if start < len(before) or stop < 0:
                continue
            text = line[start:stop]
            if (name, text) not in self._known:
                if len(self._known) >= self._most:
                    self._known.clear()
                part = self._known[name, text] = self._adapters[name].validate_json(text)
                if isinstance(part, BaseModel):
                    self._share_names(part)
            parts[name] = self._known[name, text]
            pieces += [line[end:start], b"null"]
            end = stop
        return b"".join([*pieces, line[end:]]), parts


def _same_schema(data: bytes, where: object) -> None:
    """Raise RunError if the schema version is not in `READ`; this comes before any other fault."""
    content = from_json(data)
    given = content.get("schema_version") if isinstance(content, dict) else None
    if given not in READ or isinstance(given, bool):
        hint = "measure again, or use the rmmbench that wrote it"
        versions, shown = " or ".join(map(str, READ)), printable(repr(given), 50)
        raise RunError(f"{where} must have schema_version {versions}, got {shown}; {hint}")
