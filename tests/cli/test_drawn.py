"""A table of many rows is drawn as one of few, in less time."""

import io

import pytest
from rich.console import Console

from rmmbench.cli import drawn
from rmmbench.cli.columns import Column

COLUMNS = [
    Column("model", ("mlp", "", "模型:a", "[red]x"), is_number=False),
    Column("peak\nGiB", ("1.25", "10.50", "", "3")),
    Column("method", ("exact", "dct", "", "x"), is_number=False),
]


@pytest.mark.parametrize("title", ["", "all tasks"])
def test_many_rows_look_as_few(monkeypatch, title):
    """What rich draws and what is set as lines is the same text, in the same place."""
    texts = []
    for many in (1000, 1):
        monkeypatch.setattr(drawn, "MANY", many)
        file = io.StringIO()
        styles = ["", "red", "", ""]
        table = drawn.drawn(COLUMNS, range(4), starts={2}, styles=styles, title=title)
        Console(file=file, width=100).print(table)
        texts.append([line.rstrip() for line in file.getvalue().splitlines()])
    assert texts[0] == texts[1]
    assert any("[red]x" in line for line in texts[1])


def test_no_row_of_many_is_wrapped(monkeypatch):
    """Of very many rows each is one line, for programs that count lines."""
    monkeypatch.setattr(drawn, "MANY", 1)
    column = Column("name", tuple(str(i) * 300 for i in range(10)), is_number=False)
    file = io.StringIO()
    Console(file=file, width=40).print(drawn.drawn([column], range(10), styles=[""] * 10))
    assert len(file.getvalue().splitlines()) == 12
