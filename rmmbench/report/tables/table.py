"""A table as data: columns are declared once and filled from one item per row."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from pandas import DataFrame

Item = TypeVar("Item")
Other = TypeVar("Other")
Tone = Literal["", "failed", "doubtful", "good", "faint"]


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A column: how to read its value from an item and how to print it.

    Attributes:
        name: The value's name for programs, with its SI unit: "peak_allocated_bytes"; "" hides it.
        heading: For people, with the unit of the cells; one line or more.
        value: Returns an item's value in SI units, None if unknown. By default `item[name]`.
        write: Formats a known value.
        text: Formats an item's cell, if the value alone is not enough.
        is_number: Whether cells are aligned to the right.
        is_said_once: Whether only the first row of a section has a cell.
    """

    name: str
    heading: str = ""
    value: Callable[[Item], Any] | None = None
    write: Callable[[Any], str] = str
    text: Callable[[Item], str] | None = None
    is_number: bool = True
    is_said_once: bool = False

    def of(self, part: Callable[[Other], Item]) -> "Column[Other]":
        """Return the same column for items that contain this column's items."""
        text = self.text
        return Column(
            *(self.name, self.heading, lambda item: self.known(part(item)), self.write),
            text=text and (lambda item: text(part(item))),
            is_number=self.is_number,
            is_said_once=self.is_said_once,
        )

    def known(self, item: Item) -> Any:
        """Return an item's value."""
        return self.value(item) if self.value else item[self.name]  # type: ignore[index]

    def cell(self, item: Item) -> str:
        """Return the text of an item's cell."""
        return self.text(item) if self.text else self.written(self.known(item))

    def written(self, value: Any) -> str:
        """Return the text of a cell with this value, where the value alone decides it."""
        return "" if value is None else self.write(value)


def unseen(name: str, value: Callable[[Item], Any] | None = None) -> Column[Item]:
    """Return a column that only programs see."""
    return Column(name, value=value, text=lambda item: "")


@dataclass(frozen=True)
class Filled:
    """A column of a table: `cells` for people and `values` for programs, one per row.

    Attributes:
        is_said_once: Whether an empty cell stands for the one above it in its section.
    """

    name: str
    heading: str
    cells: tuple[str, ...]
    values: tuple[Any, ...] = ()
    is_number: bool = True
    is_shown: bool = True
    is_said_once: bool = False

    def part(self, rows: slice) -> "Filled":
        """Return the column of some of the rows."""
        return replace(self, cells=self.cells[rows], values=self.values[rows])


@dataclass(frozen=True)
class Table:
    """A table that any writer can write.

    Attributes:
        tones: The tone of each row, or of its cell in the column `toned`.
        starts: The rows that begin a section.
        lead: Lines above the table on its subject.
        warnings: Lines below the table on what failed.
        notes: Lines below the warnings on the source and meaning of numbers.
    """

    columns: tuple[Filled, ...]
    tones: tuple[Tone, ...]
    starts: frozenset[int] = frozenset()
    title: str = ""
    toned: str = ""
    lead: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.tones)

    @property
    def shown(self) -> list[Filled]:
        """The columns for people: those with a cell that is not empty."""
        return [column for column in self.columns if column.is_shown]

    def values(self, name: str) -> tuple[Any, ...]:
        """Return the values of the column of that name."""
        return next(column.values for column in self.columns if column.name == name)

    def data(self) -> list[dict[str, Any]]:
        """Return the rows for programs, by column name; numbers are in SI units or None."""
        named = [column for column in self.columns if column.name]
        return [{each.name: each.values[i] for each in named} for i in range(len(self))]

    def frame(self) -> "DataFrame":
        """Return a pandas DataFrame of `data()`; each setting of a case is a column of its own."""
        from pandas import DataFrame

        return DataFrame([row | row.pop("case", {}) for row in self.data()])

    def __repr__(self) -> str:
        from rmmbench.report.tables.writers import plain

        return plain(self)

    def _repr_markdown_(self) -> str:
        from rmmbench.report.tables.writers import markdown

        return markdown([self])

    def part(self, rows: slice, title: str) -> "Table":
        """Return some of the rows as a table with the same columns."""
        columns = tuple(column.part(rows) for column in self.columns)
        return replace(self, columns=columns, tones=self.tones[rows], title=title)


def build(
    items: Sequence[Item],
    columns: Iterable[Column[Item]],
    *,
    tone: Callable[[Item], Tone] = lambda item: "",
    section: Callable[[Item], object] = lambda item: None,
    **about: Any,
) -> Table:
    """Return the table with a row per item.

    Args:
        items: In the order of the rows.
        columns: From left to right.
        tone: Returns the tone of an item's row.
        section: Returns a value that all rows of one section share.
        about: The table's other attributes.
    """
    sections = [section(item) for item in items]
    starts = {i for i, each in enumerate(sections) if i == 0 or each != sections[i - 1]}
    filled = []
    for column in columns:
        values = tuple(map(column.known, items)) if column.name else ()
        is_told = column.text is not None or not values
        cells = tuple(map(column.cell, items) if is_told else map(column.written, values))
        if column.is_said_once:
            cells = tuple(cell if i in starts else "" for i, cell in enumerate(cells))
        about_it = {"is_number": column.is_number, "is_shown": any(cells)}
        about_it["is_said_once"] = column.is_said_once
        filled.append(Filled(column.name, column.heading, cells, values, **about_it))
    return Table(tuple(filled), tuple(map(tone, items)), frozenset(starts), **about)
