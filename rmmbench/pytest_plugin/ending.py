"""The table of all checks at the end of pytest's output."""

from collections.abc import Sequence
from typing import Any

from rmmbench.pytest_plugin.checked import Checked, read
from rmmbench.report.tables.table import Column, Table, Tone, build
from rmmbench.report.tables.writers import plain
from rmmbench.units import format_bytes, format_percent

_COLORS: dict[Tone, dict[str, bool]] = {"failed": {"red": True}, "good": {"green": True}}


def show(terminal: Any, told: Sequence[str], written: Sequence[str]) -> None:
    """Print the table of checks, and what was written.

    Args:
        terminal: Pytest's terminal reporter.
        told: The checks, as JSON.
        written: A line on each thing that was written.
    """
    table = check_table(read(told))
    terminal.section("memory of training steps", sep="-")
    head, *rows = plain(table).splitlines()
    terminal.write_line(head, bold=True)
    for row, tone in zip(rows, table.tones, strict=True):
        terminal.write_line(row, **_COLORS.get(tone, {}))
    for line in written:
        terminal.write_line(line)


def check_table(checks: Sequence[Checked]) -> Table:
    """Return the table with a row per check: what it took, and what it may take."""
    return build(checks, _COLUMNS, tone=_tone)


def _tone(check: Checked) -> Tone:
    if check.fault:
        return "failed"
    return "good" if check.verdict == "less" else ""


def _where(check: Checked) -> str:
    case = check.record.case
    return f"{case.device} {case.gpu}" if case.gpu else case.device


def _peak(check: Checked) -> int | None:
    memory = check.record.memory
    return None if memory is None else memory.peak_allocated_bytes


def _most(check: Checked) -> str:
    held = check.nearest
    if held is None:
        return ""
    what = "" if held.what == "peak" else f"{held.what} "
    return f"{what}{check.against} {format_bytes(held.most)}"


_COLUMNS: tuple[Column[Checked], ...] = (
    Column("test", "test", lambda check: check.name, is_number=False),
    Column("device", "device", _where, is_number=False),
    Column("peak_allocated_bytes", "peak", _peak, format_bytes),
    Column("most", "held to", _most, is_number=False),
    Column(
        "change",
        "by",
        lambda check: check.nearest.change if check.nearest else None,
        lambda change: format_percent(change, signed=True),
    ),
    Column("verdict", "verdict", lambda check: check.verdict, is_number=False),
)
