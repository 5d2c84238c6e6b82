"""The types of numbers and texts in records, cases and profiles, with their ranges.

Integers are those that every JSON reader represents exactly. Products and ratios of floats are
finite. A text is one printable line: a `Name` that is not is refused, and a `Line` is made one, so
that no text prevents a record.
"""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from rmmbench.spec.printable import printable

MOST: Final = 2**53 - 1
"""The largest integer."""

LONGEST: Final = 2000
"""Most characters of a text."""


def _in_unit_interval(rho: float) -> float:
    if not 0 < rho <= 1:
        raise ValueError(f"must be in (0, 1], got {rho:g}")
    return rho


def _fraction(fraction: float) -> float:
    if not 0 <= fraction <= 1:
        raise ValueError(f"must be in [0, 1], got {fraction:g}")
    return fraction


def _name(text: str) -> str:
    # "::" at the start of a line is a command to GitHub, and "<" in a figure begins a tag.
    if not text.isprintable() or "::" in text or "<" in text:
        shown = printable(repr(text), 100)
        raise ValueError(f"must be a printable line without '::' and '<', got {shown}")
    return text


def _line(text: Any) -> Any:
    if not isinstance(text, str) or (
        text.isprintable() and len(text) <= LONGEST and "::" not in text
    ):
        return text
    return printable(_COMMAND.sub(": :", printable(text, LONGEST)), LONGEST)


# A word that begins with two colons, which at the start of a line is a command to GitHub.
_COMMAND = re.compile(r"(?<!\S)::")


Count = Annotated[int, Field(strict=True, ge=1, le=MOST)]
"""A number of things, at least one."""

Whole = Annotated[int, Field(strict=True, ge=0, le=MOST)]
"""A number of things or bytes, at least zero."""

Work = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
"""How much work is done; a large model's is beyond what a reader of JSON that has only floats holds
exactly."""

Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
"""A seed that every random generator takes."""

Rho = Annotated[float, Field(strict=True), AfterValidator(_in_unit_interval)]
Fraction = Annotated[float, Field(strict=True), AfterValidator(_fraction)]
Flag = Annotated[bool, Field(strict=True)]

Positive = Annotated[float, Field(strict=True, gt=0, le=1e15)]
NotNegative = Annotated[float, Field(strict=True, ge=0, le=1e15)]
Finite = Annotated[float, Field(strict=True, ge=-1e150, le=1e150)]

Square = Annotated[float, Field(strict=True, ge=0, le=1e150)]
"""A sum of squares."""

Duration = Annotated[float, Field(strict=True, gt=0, le=1e8)]
"""A time limit in seconds."""

Measured = Annotated[float, Field(strict=True, ge=1e-12, le=1e15)]
"""A measured quantity that is never zero, so that numbers can be divided by it."""

Ratio = Annotated[float, Field(strict=True, gt=0, le=1e150)]
"""One measured quantity ÷ another."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST), AfterValidator(_name)]
"""A text that a person chose; it must be a printable line."""

Line = Annotated[str, BeforeValidator(_line)]
"""A text from a program or a machine; it is made a printable line of at most `LONGEST`."""
