"""Reads a TOML file that people write, and tells in one line what is wrong with it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rmmbench.errors import RmmbenchError, did_you_mean
from rmmbench.spec.printable import printable
from rmmbench.spec.strict import complaint


def read_toml(path: Path, what: str, refusal: type[RmmbenchError]) -> dict[str, Any]:
    """Return the content of a file.

    Args:
        path: Of the file.
        what: What it should be: "plan".
        refusal: What is raised if it cannot be read, or is not TOML.
    """
    try:
        if path.is_fifo():
            raise refusal(f"{path}: a {what} must be a file, got a pipe; give another")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refusal(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        why = printable(str(error), 200)
        raise refusal(f"{path}: a {what} must be TOML: {why}") from error


def fault_in(
    source: str,
    error: ValidationError,
    whole: type[BaseModel],
    tables: Mapping[str, type[BaseModel]],
) -> str:
    """Return what is wrong with the content of a file.

    Args:
        source: Names the file.
        error: Pydantic's.
        whole: The class of the content.
        tables: The class of each table in it, by key.
    """
    # A misspelt key is also a missing one; the unknown name says more.
    fault = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    keys = [str(part) for part in fault["loc"] if isinstance(part, str)]
    if not keys:
        return f"{source}{complaint(fault)}"
    key = printable(keys[-1], 100)
    where = f" in [{printable('.'.join(keys[:-1]), 100)}]" if keys[1:] else ""
    if fault["type"] == "extra_forbidden":
        known = list((tables[keys[0]] if keys[1:] else whole).model_fields)
        hint = f"{did_you_mean(keys[-1], known)}; keys are: {', '.join(known)}"
        return f"{source}: unknown key '{key}'{where}{hint}"
    if fault["type"] == "missing":
        return f"{source}: key '{key}'{where} must be given"
    return f"{source}: {key}{where}{complaint(fault)}"
