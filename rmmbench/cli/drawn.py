"""Tables drawn for people."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from rmmbench.report.tables.table import Table

STYLES = {"": "", "failed": "red", "doubtful": "yellow", "good": "green", "faint": "dim"}
WIDTH, WIDER = 100, 120
MANY = 1000
"""Tables of more rows are printed as plain lines; rich, which wraps each cell, takes minutes."""

_GAP = 2  # characters from one column to the next


def print_tables(tables: Sequence[Table], console: Console | None = None) -> None:
    """Print tables to stdout, or to `console`, after an empty line."""
    is_wide = any(sum(_sizes(table)) + _GAP * len(table.shown) > WIDTH for table in tables)
    console = console or console_of(sys.stdout, WIDER if is_wide else WIDTH)
    console.print()
    console.print(drawn(tables, console.width), crop=False)


def console_of(stream: TextIO, width: int) -> Console:
    """Return a console as wide as the terminal, or of `width` for a file or a pipe."""
    # Rich would take 80 columns for a file or a pipe, which have room for the table.
    is_told = stream.isatty() or "COLUMNS" in os.environ
    return Console(file=stream, width=None if is_told else width, highlight=False)


def drawn(tables: Sequence[Table], width: int) -> RenderableType:
    """Return the tables below one another, each with its warnings and its notes.

    Tables with the same columns get the same widths. Words are wrapped before numbers are. With
    more than `MANY` rows no cell is wrapped.
    """
    parts: list[RenderableType] = []
    for table in tables:
        parts += [Text("")] if parts else []
        parts += [Text(table.title, "bold")] if table.title else []
        parts += map(Text, table.lead)
        alike = [each for each in tables if _headings(each) == _headings(table)]
        parts.append(_Lines(table) if len(table) > MANY else _rich_table(table, alike, width))
        parts += [Text(warning, STYLES["doubtful"]) for warning in table.warnings]
        if table.notes:
            parts += [Text(""), Text("\n".join(table.notes), STYLES["faint"])]
    return Group(*parts)


def _headings(table: Table) -> list[str]:
    return [column.heading for column in table.shown]


def _rich_table(table: Table, alike: Sequence[Table], width: int) -> RichTable:
    result = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    result.show_header = any(_headings(table))
    for column, size in zip(table.shown, _widths(alike, width), strict=True):
        result.add_column(
            Text(column.heading),
            justify="right" if column.is_number else "left",
            overflow="fold",
            width=size,
        )
    for row in range(len(table)):
        if row in table.starts and row:
            result.add_section()
        style = STYLES[table.tones[row]]
        cells = [
            Text(column.cells[row], style if column.name == table.toned else "")
            for column in table.shown
        ]
        result.add_row(*cells, style="" if table.toned else style)
    return result


def _widths(alike: Sequence[Table], width: int) -> list[int]:
    """Return the width of each column that makes the tables fit."""
    sizes, least = (
        [max(of) for of in zip(*(_sizes(table, is_least=each) for table in alike), strict=True)]
        for each in (False, True)
    )
    left = width - _GAP * len(sizes) - sum(least)
    if left < 0:
        least, left = [1] * len(sizes), width - (_GAP + 1) * len(sizes)
    # The column that lacks least comes first; each gets what it lacks, or its share of the rest.
    lacking = sorted(range(len(sizes)), key=lambda i: sizes[i] - least[i])
    for count, i in enumerate(lacking):
        more = min(sizes[i] - least[i], max(0, left) // (len(sizes) - count))
        least[i], left = least[i] + more, left - more
    return least


def _sizes(table: Table, *, is_least: bool = False) -> list[int]:
    """Return each column's full width, or its least one, where words wrap and numbers do not."""
    sizes = []
    for column in table.shown:
        texts = {*column.heading.split("\n"), *column.cells}
        if is_least and not column.is_number:
            texts = {word for text in texts for word in text.split()}
        sizes.append(max(map(_cells, texts), default=1))
    return sizes


def _cells(text: str) -> int:
    """Return how wide a text is on paper; of plain letters rich need not be asked."""
    return len(text) if text.isascii() and text.isprintable() else cell_len(text)


@dataclass(frozen=True)
class _Lines:
    """The same table, one line for each row, cut at the edge of the page."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        table, sizes = self.table, _sizes(self.table)
        headings = [heading.split("\n") for heading in _headings(table)]
        bold = console.get_style("bold")
        styles = {tone: console.get_style(name) if name else None for tone, name in STYLES.items()}
        height = max(map(len, headings))
        whole = sum(sizes) + _GAP * (len(sizes) - 1)
        width = min(whole, options.max_width)
        crop = None if width == whole else width
        padded = [[""] * (height - len(head)) + head for head in headings]
        for line in zip(*padded, strict=True):
            yield Segment(self._line(line, sizes, crop), bold)
        yield Segment("─" * width + "\n")
        cells = [column.cells for column in table.shown]
        for index, row in enumerate(zip(*cells, strict=True)):
            if index in table.starts and index:
                yield Segment("\n")
            yield Segment(self._line(row, sizes, crop), styles[table.tones[index]])

    def _line(self, cells: Sequence[str], sizes: Sequence[int], crop: int | None) -> str:
        parts = []
        for column, cell, size in zip(self.table.shown, cells, sizes, strict=True):
            blank = " " * (size - _cells(cell))
            parts.append(blank + cell if column.is_number else cell + blank)
        line = (" " * _GAP).join(parts)
        return (line if crop is None else set_cell_size(line, crop)) + "\n"
