"""The tables of all ways of saving memory: what each saves, its speed, its gradient error."""

from collections.abc import Sequence

from rmmbench.report.figures import FigureData
from rmmbench.report.labels import place, provenance, shared_place
from rmmbench.report.tables import columns
from rmmbench.report.tables.table import Column, Table, build, unseen
from rmmbench.report.ways import DEVICES, NO_MORE, Cell, left_out, read_cells
from rmmbench.results.tidy import CELL, Row, telling_places
from rmmbench.units import byte_unit

OF_EXACT, OF_ALL = "of exact", "of all"


def frontier_tables(data: FigureData) -> list[Table]:
    """Return a table per cell, with notes below the last.

    Cases with a memory limit are left out: they belong to a search for the largest batch.
    """
    cells = [cell for cell in read_cells(data.step_rows) if cell.compares]
    return [
        build(
            in_order(cell),
            _columns(cell),
            tone=columns.outcome_tone,
            title=_title(cell, cells),
            notes=_notes(data, cells) if cell is cells[-1] else (),
        )
        for cell in cells
    ]


def in_order(cell: Cell) -> list[Row]:
    """Return exact, then the ways from the highest peak down, then those without a peak."""
    sized = {row["key"] for row in cell.sized}
    return [*cell.sized, *(row for row in cell.rows if row["key"] not in sized)]


def _columns(cell: Cell) -> list[Column[Row]]:
    best = {row["key"]: OF_ALL for row in cell.best}
    best |= {row["key"]: OF_EXACT for row in cell.exact_best}
    unit = byte_unit(max((row["peak_allocated_bytes"] for row in cell.sized), default=0))
    return [
        *columns.CASE,
        Column("label", "method", lambda row: _spaced(cell.names[row["key"]]), is_number=False),
        columns.peak(unit, cell.rows),
        unseen("peak_live_bytes"),
        unseen("reserved_bytes"),
        columns.SAVED,
        columns.kept(unit, "kept for\nbackward"),
        columns.RELATIVE_THROUGHPUT,
        columns.INTERVAL,
        columns.GRADIENT_ERROR,
        *columns.NOISE,
        Column("best", "no other\nis better", lambda row: best.get(row["key"])),
        unseen("is_best_of_exact", lambda row: _is_among(row, cell.exact_best)),
        unseen("is_best_of_all", lambda row: _is_among(row, cell.best)),
        Column("side", "line exact to\ncheckpoint", lambda row: cell.side(row) or None),
        *columns.COUNTED,
    ]


def _is_among(row: Row, rows: Sequence[Row]) -> bool | None:
    """Return whether a row is one of those; None if its speed is unknown."""
    return None if row["relative_throughput"] is None else row in rows


def _spaced(name: str) -> str:
    return name.replace("\N{NO-BREAK SPACE}", " ")


def _title(cell: Cell, cells: Sequence[Cell]) -> str:
    """Return what tells a cell from the others."""
    told = telling_places([each.rows[0] for each in cells], [*CELL, "memory_device"])
    words = [place(cell.rows[0], [name for name in told if name != "memory_device"])]
    words += [DEVICES[cell.rows[0]["memory_device"]]] if "memory_device" in told else []
    return " · ".join(filter(None, words))


def _notes(data: FigureData, cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return what all rows share, where numbers are from, and what columns and names mean."""
    rows = [row for cell in cells for row in cell.rows]
    said = [shared_place(rows), provenance(rows, data.environment, data.synthetic)]
    said.append(_spaced(left_out(rows)))
    if any(cell.timed for cell in cells):
        said.append(
            f"No other is better, {OF_EXACT}: of the ways with exact gradients none needs less "
            f"peak memory and is as fast; {OF_ALL}: nor does any other way with as small an error. "
            f"Peaks that differ by up to {100 * NO_MORE:g} % count as equal."
        )
    if any(cell.line for cell in cells):
        said.append(
            "Above: faster than a mix of exact and checkpoint that needs as much memory, "
            "by the straight line between them."
        )
    return tuple(filter(None, said))
