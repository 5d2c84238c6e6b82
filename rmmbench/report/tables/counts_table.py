"""The table of the counted work of single steps, as ratios to exact's."""

from collections.abc import Sequence

from rmmbench.report.labels import shared_place
from rmmbench.report.tables.step_table import in_order, names
from rmmbench.report.tables.table import Column, Table, build
from rmmbench.results.record import Environment
from rmmbench.results.tidy import Row
from rmmbench.units import byte_unit, flop_unit

HOW_COUNTED = (
    "The work of one predicted step, counted: FLOP of matrix products, convolutions, attention and "
    "sketches; bytes of all operators' inputs and outputs. It has no noise, and is no time."
)


def counts_tables(rows: Sequence[Row], environment: Environment) -> list[Table]:
    """Return the table with a row per counted case, in sections of one cell; none without counts.

    Args:
        rows: Of single steps.
        environment: Of the run.
    """
    counted = in_order([row for row in rows if row["operator_calls"] is not None])
    if not counted:
        return []
    dtypes = ", ".join(sorted({row["dtype"] for row in counted}))
    versions = f"Counted with torch {environment.torch}, {dtypes}."
    table = build(
        counted,
        [*names(counted), *_numbers(counted)],
        section=lambda row: row["cell"],
        notes=tuple(filter(None, [shared_place(counted), f"{HOW_COUNTED} {versions}"])),
    )
    return [table]


def _numbers(rows: Sequence[Row]) -> list[Column[Row]]:
    flops = flop_unit(max(row["flops"] for row in rows))
    moved = byte_unit(max(row["moved_bytes"] for row in rows))
    return [
        Column("flops", f"work\n{flops.name}", write=flops.write),
        _relative("flops"),
        Column("moved_bytes", f"moved\n{moved.name}", write=moved.write),
        _relative("moved_bytes"),
        Column("operator_calls", "operator\ncalls", write=lambda calls: f"{calls:,}"),
        _relative("operator_calls"),
    ]


def _relative(name: str) -> Column[Row]:
    """Return the column of a count ÷ exact's, which is not said of exact itself."""
    ratio = f"relative_{name}"

    def text(row: Row) -> str:
        return "" if row["method"] == "exact" or row[ratio] is None else f"{row[ratio]:.3f}"

    return Column(ratio, "÷\nexact's", text=text)
