"""Tables drawn for people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from rmmbench.report.tables.table import Table

STYLES = {"": "", "failed": "red", "doubtful": "yellow", "good": "green", "faint": "dim"}
MANY = 1000
"""Of more rows rich takes minutes, which measures and wraps each cell: they are set as lines."""

_GAP = 2  # characters from one column to the next


def drawn(tables: Sequence[Table], *, width: int = 0) -> RenderableType:
    """Return the tables below one another, each with its warnings and its notes.

    Tables with the same columns get columns of the same widths, where those fit `width`. Of more
    than `MANY` rows no cell is wrapped.
    """
    parts: list[RenderableType] = []
    for table in tables:
        parts += [Text("")] if parts else []
        alike = [each for each in tables if _headings(each) == _headings(table)]
        parts.append(_Lines(table) if len(table) > MANY else _rich_table(table, alike, width))
        parts += [Text(warning, STYLES["failed"]) for warning in table.warnings]
        if table.notes:
            parts += [Text(""), Text("\n".join(table.notes), STYLES["faint"])]
    return Group(*parts)


def _headings(table: Table) -> list[str]:
    return [column.heading for column in table.shown]


def _rich_table(table: Table, alike: Sequence[Table], width: int) -> RichTable:
    sizes = [max(of) for of in zip(*map(_sizes, alike), strict=True)]
    is_aligned = sum(sizes) + _GAP * len(sizes) <= width
    result = RichTable(
        title=Text(table.title, "bold") if table.title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column, size in zip(table.shown, sizes, strict=True):
        result.add_column(
            Text(column.heading),
            justify="right" if column.is_number else "left",
            vertical="bottom",
            min_width=size if is_aligned else None,
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


def _sizes(table: Table) -> list[int]:
    """Return how wide each column is."""
    return [
        max(map(cell_len, [*column.heading.split("\n"), *column.cells])) for column in table.shown
    ]


@dataclass(frozen=True)
class _Lines:
    """The same table, a line a row however long."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        table, sizes = self.table, _sizes(self.table)
        headings = [heading.split("\n") for heading in _headings(table)]
        bold = console.get_style("bold")
        styles = {tone: console.get_style(name) if name else None for tone, name in STYLES.items()}
        if table.title:
            yield Segment(f"{table.title}\n", bold)
        height = max(map(len, headings))
        padded = [[""] * (height - len(head)) + head for head in headings]
        for line in zip(*padded, strict=True):
            yield Segment(self._line(line, sizes), bold)
        yield Segment("─" * (sum(sizes) + _GAP * (len(sizes) - 1)) + "\n")
        cells = [column.cells for column in table.shown]
        for index, row in enumerate(zip(*cells, strict=True)):
            if index in table.starts and index:
                yield Segment("\n")
            yield Segment(self._line(row, sizes), styles[table.tones[index]])

    def _line(self, cells: Sequence[str], sizes: Sequence[int]) -> str:
        parts = []
        for column, cell, size in zip(self.table.shown, cells, sizes, strict=True):
            blank = " " * (size - cell_len(cell))
            parts.append(blank + cell if column.is_number else cell + blank)
        return (" " * _GAP).join(parts) + "\n"
