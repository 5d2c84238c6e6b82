"""What files of a run say, read strictly: whatever is wrong with one is told in a line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from rmmbench.errors import RunError
from rmmbench.results.migration import READ
from rmmbench.spec.printable import printable
from rmmbench.spec.strict import complaint

M = TypeVar("M", bound=BaseModel)


def lines_of(file: Path) -> Iterator[bytes]:
    """Yield the lines of a file without their ends; nothing if there is no file.

    What follows the last newline was never finished, and is left out.

    Raises:
        RunError: If something else is there, or it cannot be read.
    """
    with _readable(file) as is_there:
        if is_there:
            with file.open("rb") as stream:
                yield from (line[:-1] for line in stream if line.endswith(b"\n"))


def content_of(file: Path) -> bytes | None:
    """Return what is in a file; None if there is no file.

    Raises:
        RunError: If something else is there, or it cannot be read.
    """
    with _readable(file) as is_there:
        return file.read_bytes() if is_there else None


@contextmanager
def _readable(file: Path) -> Iterator[bool]:
    """Tell whether a file is there; a pipe, which may never end, is none."""
    try:
        is_there = file.exists()
        if is_there and not file.is_file():
            raise RunError(f"{file} must be a file, and is something else; mend it")
        yield is_there
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}; mend it") from error


def parsed(kind: type[M], data: bytes, where: object, hint: str) -> M:
    """Return the model that some JSON is of; `hint` is what to do where it is of none.

    Raises:
        RunError: If it is not JSON, or of another schema version, or not such a model.
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


class Shared:
    """Parts of models that are equal, each kept once: a long run has one machine, and few shapes.

    A model that was read holds what is shared in the place of its own.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._parts: dict[Any, BaseModel] = {}
        self._sets: dict[frozenset[str], set[str]] = {}

    def share(self, model: M, equal: tuple[str, ...] = ()) -> M:
        """Return `model` with its parts called `equal` shared, and the names of fields given."""
        for name, part in model.__dict__.items():
            if isinstance(part, BaseModel):
                model.__dict__[name] = self._part(part) if name in equal else self.share(part)
        given = model.__pydantic_fields_set__
        kept = self._sets.setdefault(frozenset(given), given)
        object.__setattr__(model, "__pydantic_fields_set__", kept)
        return model

    def _part(self, part: BaseModel) -> BaseModel:
        values = part.__dict__.values()
        flat = (tuple(each.items()) if isinstance(each, dict) else each for each in values)
        return self._parts.setdefault((type(part), *flat), part)


def _same_schema(data: bytes, where: object) -> None:
    """Refuse another schema version than those of `READ` before anything else that may be wrong."""
    content = from_json(data)
    given = content.get("schema_version") if isinstance(content, dict) else None
    if given not in READ or isinstance(given, bool):
        hint = "measure again, or use the rmmbench that wrote it"
        versions, shown = " or ".join(map(str, READ)), printable(repr(given), 50)
        raise RunError(f"{where} must have schema_version {versions}, got {shown}; {hint}")
