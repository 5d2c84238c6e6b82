"""Formats numbers in SI units for people, and parses what people write. Records hold SI units."""

import re
from dataclasses import dataclass

KIB, MIB, GIB = 2**10, 2**20, 2**30

_SUFFIXES = {
    "": 1,
    "B": 1,
    "KIB": KIB,
    "MIB": MIB,
    "GIB": GIB,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}


def gib(n_bytes: float) -> float:
    """Return `n_bytes` in GiB."""
    return n_bytes / GIB


def format_bytes(n_bytes: float | None) -> str:
    """Return bytes in the binary unit that reads best: "11.35 GiB", "64.0 MiB", "–" for None."""
    if n_bytes is None:
        return "–"
    for size, name, digits in ((GIB, "GiB", 2), (MIB, "MiB", 1), (KIB, "KiB", 1)):
        if abs(n_bytes) >= size:
            return f"{n_bytes / size:.{digits}f} {name}"
    return f"{n_bytes:.0f} B"


def format_seconds(seconds: float | None) -> str:
    """Return a duration in the unit that reads best: "1:02:03", "45 s", "12.3 ms", "–" for None."""
    if seconds is None:
        return "–"
    if round(seconds) >= 60:
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d} min"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def format_clock(seconds: float) -> str:
    """Return a time since a start: "0:03:20"."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def format_roughly(seconds: float) -> str:
    """Return a duration as it is worth to say of an estimate: "20 s", "12 min", "2.5 h"."""
    if seconds < 57.5:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 89.5 * 60:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 1800) / 2:g} h"


def format_percent(fraction: float | None, *, signed: bool = False) -> str:
    """Return a fraction as a percentage with one digit: 0.063 as "6.3 %", "–" for None."""
    if fraction is None:
        return "–"
    return f"{100 * fraction:{'+' if signed else ''}.1f} %"


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun: "1 case", "3 cases"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def parse_bytes(text: str) -> int:
    """Return the number of bytes in a text such as "16GiB", "16 GB" or "1048576".

    Raises:
        ValueError: If the text is not a number with one of the units B, KiB, MiB, GiB, KB, MB, GB.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _SUFFIXES:
        raise ValueError(
            f"a memory size must be a number and a unit, such as '16GiB', got '{text}'"
        )
    size = float(match[1]) * _SUFFIXES[match[2].upper()]
    if size >= 2**53:
        raise ValueError(f"a memory size must be below 8192 TiB, got '{text}'")
    return round(size)


def parse_fraction(text: str) -> float:
    """Return the fraction in a text such as "5%" or "0.05".

    Raises:
        ValueError: If it is not at least 0 and below 1.
    """
    number, percent, rest = text.partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if rest.strip() or not 0 <= value < 1:
        raise ValueError(f"must be from 0 to below 100 %, such as 5% or 0.05, got '{text}'")
    return value


@dataclass(frozen=True)
class Unit:
    """The unit of all numbers in a column or on an axis.

    Attributes:
        size: How much one of it is, in SI units.
        digits: Decimal places.
    """

    name: str
    size: int
    digits: int

    def write(self, value: float | None) -> str:
        """Return a value in this unit without the unit's name, "" for None."""
        return "" if value is None else f"{value / self.size:.{self.digits}f}"


def flop_unit(highest: float) -> Unit:
    """Return the unit for counts of floating-point operations up to `highest`."""
    fitting = [unit for unit in _FLOP_UNITS if unit.size <= highest]
    return fitting[-1] if fitting else _FLOP_UNITS[0]


def format_flops(flops: float) -> str:
    """Return a count of floating-point operations in the unit that reads best: "12.35 TFLOP"."""
    unit = flop_unit(flops)
    return f"{unit.write(flops)} {unit.name}"


def byte_unit(highest: float) -> Unit:
    """Return the unit for numbers up to `highest`: MiB below one GiB, else GiB."""
    return Unit("MiB", MIB, 1) if highest < GIB else Unit("GiB", GIB, 2)


_FLOP_UNITS = (
    Unit("FLOP", 1, 0),
    *(Unit(f"{prefix}FLOP", 1000**power, 2) for power, prefix in enumerate("kMGTPE", start=1)),
)
