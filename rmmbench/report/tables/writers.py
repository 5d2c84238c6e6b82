"""Tables written as Markdown, as plain text and as data."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from rmmbench.report.tables.table import Table


def markdown(tables: Iterable[Table]) -> str:
    """Return the tables below one another, with their titles, warnings and notes."""
    return "\n".join("\n".join(_markdown(table)) for table in tables)


def data(tables: Iterable[Table]) -> list[dict[str, Any]]:
    """Return the tables for programs: rows by column name, numbers in SI units or None."""
    return [
        {
            "title": table.title,
            "rows": table.data(),
            "lead": list(table.lead),
            "warnings": list(table.warnings),
            "notes": list(table.notes),
        }
        for table in tables
    ]


def plain(table: Table) -> str:
    """Return a table as plain text with aligned columns, its title, lead, warnings and notes."""
    columns = [(column, " ".join(column.heading.split())) for column in table.shown]
    widths = [max(map(len, [heading, *column.cells])) for column, heading in columns]
    rows = [[heading for _, heading in columns], *zip(*(c.cells for c, _ in columns), strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for cell, width, (column, _) in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in rows
    ]
    title = [table.title] if table.title else []
    return "\n".join([*title, *table.lead, *lines, *table.warnings, *table.notes])


def _markdown(table: Table) -> Iterable[str]:
    if table.title:
        yield f"**{escaped(table.title)}**\n"
    yield from _paragraphs(table.lead)
    shown = table.shown
    yield markdown_row(column.heading for column in shown)
    yield f"| {' | '.join('---:' if column.is_number else '---' for column in shown)} |"
    for i in range(len(table)):
        yield markdown_row(column.cells[i] for column in shown)
    yield ""
    for lines in (table.warnings, table.notes):
        yield from _paragraphs(lines)


def _paragraphs(lines: Sequence[str]) -> Iterable[str]:
    for line in lines:
        yield from (escaped(line), "")


def markdown_row(cells: Iterable[str]) -> str:
    """Return a row of a Markdown table, with all marks in its cells escaped."""
    return f"| {' | '.join(map(escaped, cells))} |"


def escaped(text: str) -> str:
    """Escape whatever Markdown would read as a column, a tag or a mark."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKS.sub(r"\\\g<0>", text)


# An underscore inside a word is not a mark.
_MARKS = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
