"""What a number or a text may be in a record, a case or a profile: each has its range here.

Integers are those that every reader of JSON has exactly, floats such that their products and ratios
are finite. A text is one printable line: a name that is none is refused; what a program said is
made one, so that no text stops a record.
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
    # What a wrapped table begins a line with may be a command to GitHub; a figure's "<" is a tag.
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
"""How many of what there is at least one of."""

Whole = Annotated[int, Field(strict=True, ge=0, le=MOST)]
"""How many, none included; bytes too."""

Work = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
"""How much work is done; a large model's is beyond what a reader of JSON that has only floats holds
exactly."""

Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
"""What every random generator takes."""

Rho = Annotated[float, Field(strict=True), AfterValidator(_in_unit_interval)]
Fraction = Annotated[float, Field(strict=True), AfterValidator(_fraction)]
Flag = Annotated[bool, Field(strict=True)]

Positive = Annotated[float, Field(strict=True, gt=0, le=1e15)]
NotNegative = Annotated[float, Field(strict=True, ge=0, le=1e15)]
Finite = Annotated[float, Field(strict=True, ge=-1e150, le=1e150)]

Square = Annotated[float, Field(strict=True, ge=0, le=1e150)]
"""A sum of squares."""

Duration = Annotated[float, Field(strict=True, gt=0, le=1e8)]
"""Seconds that somebody may wait."""

Measured = Annotated[float, Field(strict=True, ge=1e-12, le=1e15)]
"""A measured quantity that is never nothing: what numbers are divided by."""

Ratio = Annotated[float, Field(strict=True, gt=0, le=1e150)]
"""One measured quantity ÷ another."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST), AfterValidator(_name)]
"""What somebody chose: a printable line, or it is refused."""

Line = Annotated[str, BeforeValidator(_line)]
"""What a program or a machine said: made a printable line of at most `LONGEST` characters."""
