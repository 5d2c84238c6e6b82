"""Columns of text drawn as a table for people."""

from collections.abc import Collection, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from rmmbench.cli.columns import Column

_GAP = 2  # characters from one column to the next


def drawn(
    columns: Sequence[Column],
    rows: range,
    *,
    starts: Collection[int] = (),
    styles: Sequence[str],
    title: str = "",
    width: int = 0,
) -> Table:
    """Return the rows of the columns as a table.

    Columns are as wide as all their cells need, not these rows' alone, where that fits `width`: so
    tables of parts of them are alike.

    Args:
        columns: Of text, one cell a row.
        rows: Which of the rows.
        starts: Those that begin a section.
        styles: A style of rich a row.
        title: What stands above.
        width: Characters that there are.
    """
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
