"""The base class of all data that is read from files or written to them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from rmmbench.spec.printable import printable


class Strict(BaseModel):
    """Data with no unknown fields, frozen, and with finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def complaint(fault: Mapping[str, Any]) -> str:
    """Return one of pydantic's faults as " must be …, got …"."""
    if fault["type"] == "value_error":
        message = str(fault["msg"]).removeprefix("Value error, ")
        return f" {message}" if message.startswith("must") else f": {message}"
    if fault["type"] == "missing":
        return " must be given"
    words = {
        "tuple_type": "must be an array",
        "too_short": "must have at least one value",
        "string_too_short": "must not be empty",
    }
    message = str(fault["msg"]).replace("Input should", "must")
    message = message.replace("greater than or equal to", "at least")
    message = message.replace("less than or equal to", "at most")
    return f" {words.get(fault['type'], message)}, got {shown(fault['input'])}"


def shown(value: object) -> str:
    """Return a value as text for a message; of a huge value only the type."""
    try:
        return printable(repr(value), 100)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"
