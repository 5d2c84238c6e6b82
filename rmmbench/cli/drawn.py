"""Columns of text drawn as a table for people."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rmmbench.cli.columns import Column

_GAP = 2  # characters from one column to the next
MANY = 1000
"""Of more rows rich takes minutes, which measures and wraps each cell: they are set as lines."""


def drawn(
    columns: Sequence[Column],
    rows: range,
    *,
    starts: Collection[int] = (),
    styles: Sequence[str],
    title: str = "",
    width: int = 0,
) -> RenderableType:
    """Return the rows of the columns as a table.

    Columns are as wide as all their cells need, not these rows' alone, where that fits `width`: so
    tables of parts of them are alike. Of more than `MANY` rows no cell is wrapped.

    Args:
        columns: Of text, one cell a row.
        rows: Which of the rows.
        starts: Those that begin a section.
        styles: A style of rich a row.
        title: What stands above.
        width: Characters that there are.
    """
    if len(rows) > MANY:
        return _Lines(columns, rows, starts, styles, title)
    widths = [max(map(len, [*each.heading.split("\n"), *each.cells])) for each in columns]
    is_aligned = sum(widths) + _GAP * len(widths) <= width
    table = Table(
        title=Text(title, "bold") if title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column, size in zip(columns, widths, strict=True):
        table.add_column(
            Text(column.heading),
            justify="right" if column.is_number else "left",
            vertical="bottom",
            min_width=size if is_aligned else None,
        )
    for index in rows:
        if index in starts and index != rows.start:
            table.add_section()
        table.add_row(*(Text(column.cells[index]) for column in columns), style=styles[index])
    return table


@dataclass(frozen=True)
class _Lines:
    """The same table, a line a row however long."""

    columns: Sequence[Column]
    rows: range
    starts: Collection[int]
    styles: Sequence[str]
    title: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        headings = [each.heading.split("\n") for each in self.columns]
        cells = [[each.cells[index] for index in self.rows] for each in self.columns]
        sizes = [
            max(map(cell_len, [*head, *body])) for head, body in zip(headings, cells, strict=True)
        ]
        bold = console.get_style("bold")
        styles = {name: console.get_style(name) if name else None for name in set(self.styles)}
        if self.title:
            yield Segment(f"{self.title}\n", bold)
        height = max(map(len, headings))
        padded = [[""] * (height - len(head)) + head for head in headings]
        for line in zip(*padded, strict=True):
            yield Segment(self._line(line, sizes), bold)
        yield Segment("─" * (sum(sizes) + _GAP * (len(sizes) - 1)) + "\n")
        for index, row in zip(self.rows, zip(*cells, strict=True), strict=True):
            if index in self.starts and index != self.rows.start:
                yield Segment("\n")
            yield Segment(self._line(row, sizes), styles[self.styles[index]])

    def _line(self, cells: Sequence[str], sizes: Sequence[int]) -> str:
        parts = []
        for column, cell, size in zip(self.columns, cells, sizes, strict=True):
            blank = " " * (size - cell_len(cell))
            parts.append(blank + cell if column.is_number else cell + blank)
        return (" " * _GAP).join(parts) + "\n"
