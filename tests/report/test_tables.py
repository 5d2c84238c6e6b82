"""Tables as data, and what is written of them."""

import json

from rmmbench.report.tables import Column, build, data, markdown, tables_of
from rmmbench.report.tables.table import unseen
from rmmbench.units import GIB

ITEMS = [
    {"cell": "a", "name": "x|y", "peak_allocated_bytes": 2 * GIB},
    {"cell": "a", "name": "z", "peak_allocated_bytes": None},
    {"cell": "b", "name": "z", "peak_allocated_bytes": GIB},
]


def table_of(items=ITEMS, **about):
    """Return a table with a column of each kind."""
    columns = [
        Column("", "cell", text=lambda item: item["cell"], is_number=False, is_said_once=True),
        Column("name", "name", is_number=False),
        Column("peak_allocated_bytes", "peak\nGiB", write=lambda n: f"{n / GIB:.2f}"),
        Column("nothing", "nothing", lambda item: None),
        unseen("length", lambda item: len(item["name"])),
    ]
    return build(items, columns, section=lambda item: item["cell"], **about)


def test_what_is_built():
    """A section says its place once, and a column without a word is not shown."""
    table = table_of()
    assert {column.heading: column.cells for column in table.shown} == {
        "cell": ("a", "", "b"),
        "name": ("x|y", "z", "z"),
        "peak\nGiB": ("2.00", "", "1.00"),
    }
    assert table.starts == {0, 2}


def test_markdown():
    """Numbers are set to the right, no cell is taken for a column, and notes are below."""
    text = markdown([table_of(title="All", warnings=("one failed",), notes=("Of here.",))])
    assert text == (
        "**All**\n\n"
        "| cell | name | peak GiB |\n"
        "| --- | --- | ---: |\n"
        "| a | x\\|y | 2.00 |\n"
        "|  | z |  |\n"
        "| b | z | 1.00 |\n\n"
        "one failed\n\n"
        "Of here.\n"
    )


def test_data():
    """Programs read every named column of each row, in SI units; what is unknown is null."""
    (table,) = data([table_of(title="All", notes=("Of here.",))])
    assert table["title"] == "All"
    assert table["notes"] == ["Of here."]
    assert table["rows"][1] == {
        "name": "z",
        "peak_allocated_bytes": None,
        "nothing": None,
        "length": 1,
    }


def test_tables_of_a_run(make_run, make_record, make_trained):
    """Training and single steps of one run have a table each, in values that JSON can hold."""
    failed = make_record(outcome="out_of_memory", method="checkpoint")
    found = tables_of(make_run(make_record(), failed, make_trained(0.5)))
    scores, steps = json.loads(json.dumps(data(found.tables)))
    assert scores["rows"][0]["score"] == 0.5
    assert [row["outcome"] for row in steps["rows"]] == ["ok", "out_of_memory"]
    assert steps["rows"][0]["peak_allocated_bytes"] == 10 * GIB
    assert steps["rows"][1]["peak_allocated_bytes"] is None
    assert len(found.troubles) == 1
    assert markdown(found.tables).count("| ---") > 1


def test_nodes_are_told_where_they_differ(make_run, make_record):
    """A run on several machines has a column and a note of them, one on a single one has not."""
    one, other = (
        make_record(environment=make_record().environment.model_copy(update={"node": name}), **rate)
        for name, rate in (("first", {}), ("second", {"method": "rmm", "rho": 0.5}))
    )
    (both,), (alone,) = (
        tables_of(make_run(one, other)).tables,
        tables_of(make_run(one, name="a")).tables,
    )
    shown = next(column for column in both.shown if column.name == "node")
    assert shown.cells == ("first", "second")
    assert "Cases ran on first and second." in both.notes[1]
    assert "node" not in [column.name for column in alone.shown]
    assert alone.values("node") == ("first",)
    assert "Cases ran" not in alone.notes[1]


def test_no_records(make_run):
    """A run without records has no table."""
    assert tables_of(make_run(name="empty")).tables == ()


def test_what_a_peak_is_made_of(make_run, make_record):
    """A step over ranks has a table of its parts, those that are nothing everywhere left out."""
    settings = {"ranks": 8, "parallel": "fsdp2"}
    parts = {"parameters": GIB, "optimizer": 2 * GIB, "gathered": 5 * GIB}
    record = make_record(peak=8 * GIB, **settings)
    memory = record.memory.model_copy(update={"at_peak_bytes": parts})
    run = make_run(record.model_copy(update={"memory": memory}), make_record(seed=1))
    _, table = tables_of(run).tables
    assert {column.heading: column.cells for column in table.shown if column.is_number} == {
        "parameters\nGiB": ("1.00",),
        "optimizer\nGiB": ("2.00",),
        "gathered\nGiB": ("5.00",),
        "live\nGiB": ("8.00",),
    }
    assert tables_of(make_run(make_record(), name="alone")).tables[1:] == ()
