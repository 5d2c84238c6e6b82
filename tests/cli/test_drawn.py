"""A table of many rows is drawn as one of few, in less time."""

import io

import pytest
from rich.console import Console

from rmmbench.cli import drawn
from rmmbench.report.tables.table import Filled, Table

COLUMNS = (
    Filled("model", "model", ("mlp", "", "模型:a", "[red]x"), is_number=False),
    Filled("peak", "peak\nGiB", ("1.25", "10.50", "", "3")),
    Filled("unseen", "", ("",) * 4, is_shown=False),
    Filled("method", "method", ("exact", "dct", "", "x"), is_number=False),
)
TONES = ("", "failed", "", "")


def text_of(*tables, width=100):
    """Return what is drawn of tables, line by line."""
    file = io.StringIO()
    Console(file=file, width=width).print(drawn.drawn(tables, width))
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("title", ["", "all tasks"])
def test_many_rows_look_as_few(monkeypatch, title):
    """What rich draws and what is set as lines is the same text, in the same place."""
    texts = []
    for many in (1000, 1):
        monkeypatch.setattr(drawn, "MANY", many)
        texts.append(text_of(Table(COLUMNS, TONES, frozenset({0, 2}), title)))
    assert texts[0] == texts[1]
    assert any("[red]x" in line for line in texts[1])


def test_no_row_of_many_is_wrapped(monkeypatch):
    """Of very many rows each is one line, for programs that count lines."""
    monkeypatch.setattr(drawn, "MANY", 1)
    column = Filled("name", "name", tuple(str(i) * 300 for i in range(10)), is_number=False)
    assert len(text_of(Table((column,), ("",) * 10), width=40)) == 12


def test_tables_of_the_same_columns_are_alike():
    """Columns of one heading stand below one another, and notes below the table they are of."""
    table = Table(COLUMNS, TONES, notes=("Of one machine.",))
    wide = Filled("model", "model", ("a model with a long name",), is_number=False)
    other = Table((wide, *(column.part(slice(1)) for column in COLUMNS[1:])), ("",))
    lines = text_of(other, table)
    assert len({line.index("peak") for line in lines if "peak" in line}) == 1
    assert lines[-2:] == ["", "Of one machine."]
