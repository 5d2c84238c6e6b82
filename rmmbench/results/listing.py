"""A list that shows itself as a table, in a terminal and in a notebook."""

from collections.abc import Mapping
from html import escape
from typing import TypeVar

T = TypeVar("T")


class Listing(list[T]):
    """A list with one item per row; a subclass defines the cells of a row."""

    def cells(self, item: T) -> Mapping[str, str]:
        """Return the text of each column by its heading."""
        raise NotImplementedError

    def __repr__(self) -> str:
        rows = [self.cells(item) for item in self]
        if not rows:
            return f"{type(self).__name__}([])"
        widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
        lines = [dict(zip(widths, widths, strict=True)), *rows]
        texts = ["  ".join(row[name].ljust(widths[name]) for name in widths) for row in lines]
        return "\n".join(text.rstrip() for text in texts)

    def _repr_html_(self) -> str:
        rows = [self.cells(item) for item in self]
        head = "".join(f"<th>{escape(name)}</th>" for name in (rows[0] if rows else ()))
        body = [f"<td>{'</td><td>'.join(map(escape, row.values()))}</td>" for row in rows]
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"


def beside(name: str, other: str) -> str:
    """Return `other` as it is shown beside `name`: only its last part if both have one parent."""
    parent, _, last = other.rpartition(".")
    return last if parent == name.rpartition(".")[0] else other
