"""The table of what is live at the peak of a step that is spread over ranks, by category."""

from collections.abc import Sequence

from rmmbench.report.labels import shared_place
from rmmbench.report.tables.step_table import in_order, names
from rmmbench.report.tables.table import Column, Table, build
from rmmbench.results.tidy import Row
from rmmbench.results.timeline import PARTS
from rmmbench.units import byte_unit

WHAT = (
    "Live bytes of one rank at the peak of a predicted step. Gathered: whole parameters, for as "
    "long as a block needs them; reducing: gradients on their way to the ranks that own them. "
    "Parameters and optimizer state are the rank's share; so are gradients, beside those of the "
    "block that is computed."
)


def parts_tables(rows: Sequence[Row]) -> list[Table]:
    """Return the table with a row per case that has categories, in sections of one cell each.

    Args:
        rows: Of single steps; none of them may have categories, and then there is no table.
    """
    told = in_order([row for row in rows if row["parameters_at_peak_bytes"] is not None])
    if not told:
        return []
    unit = byte_unit(max(row["peak_live_bytes"] for row in told))
    columns = [
        Column[Row](f"{part}_at_peak_bytes", f"{part}\n{unit.name}", write=unit.write)
        for part in PARTS
        if any(row[f"{part}_at_peak_bytes"] for row in told)
    ]
    live = Column[Row]("peak_live_bytes", f"live\n{unit.name}", write=unit.write)
    table = build(
        told,
        [*names(told), *columns, live],
        section=lambda row: row["cell"],
        notes=tuple(filter(None, [shared_place(told), WHAT])),
    )
    return [table]
