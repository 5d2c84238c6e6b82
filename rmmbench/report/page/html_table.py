"""A table for the template: every cell a text, the value it is sorted by, and why it is empty."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rmmbench.report.page.missing_reasons import Reason, Reasons
from rmmbench.report.tables.table import Filled, Table


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        value: What numbers are sorted by; "" for the text itself.
        reason: Why the number is missing.
        is_again: Whether it repeats the cell above.
    """

    text: str
    value: str = ""
    reason: Reason | None = None
    is_again: bool = False
    is_number: bool = False
    tone: str = ""


@dataclass(frozen=True)
class Row:
    """A row; `starts` is true of the first of a section."""

    cells: tuple[Cell, ...]
    tone: str
    starts: bool


@dataclass(frozen=True)
class HtmlTable:
    """A table; `headings` are texts, and whether their columns hold numbers."""

    id: str
    caption: str
    headings: tuple[tuple[str, bool], ...]
    rows: tuple[Row, ...]
    lead: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def html_tables(tables: Sequence[Table], reasons: Reasons, prefix: str) -> list[HtmlTable]:
    """Return the tables, with ids that begin with `prefix`."""
    return [
        html_table(table, reasons, f"{prefix}-{number}") for number, table in enumerate(tables, 1)
    ]


def html_table(table: Table, reasons: Reasons, name: str) -> HtmlTable:
    """Return a table with `name` as its id."""
    keys = next((each.values for each in table.columns if each.name == "key"), ())
    columns = [_cells(column, keys, reasons, table) for column in table.shown]
    rows = [
        Row(cells, "" if table.toned else table.tones[index], index in table.starts)
        for index, cells in enumerate(zip(*columns, strict=True))
    ]
    headings = tuple((column.heading.strip(), column.is_number) for column in table.shown)
    said = (table.lead, table.warnings, table.notes)
    return HtmlTable(name, table.title, headings, tuple(rows), *said)


def _cells(column: Filled, keys: Sequence[str], reasons: Reasons, table: Table) -> list[Cell]:
    cells: list[Cell] = []
    for index, text in enumerate(column.cells):
        if column.is_said_once and index not in table.starts and cells:
            cells.append(Cell(cells[-1].text, is_again=True))
            continue
        value = column.values[index] if column.values else None
        reason = reasons.of(keys[index], column.name) if keys and not text else None
        tone = table.tones[index] if column.name == table.toned and table.toned else ""
        cells.append(Cell(text, _sorted_by(value), reason, is_number=column.is_number, tone=tone))
    return cells


def _sorted_by(value: Any) -> str:
    first = value[0] if isinstance(value, tuple | list) and value else value
    is_number = isinstance(first, int | float) and not isinstance(first, bool)
    return repr(float(first)) if is_number else ""
