"""Bars of peak memory, one per way of saving it, for cells in which no step was timed."""

from rmmbench.report.figures._frontier_panel import full_hover
from rmmbench.report.figures._method_bars import WIDTH, Bar, bar_axis, bars, height
from rmmbench.report.figures._notes import peak_title
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._style import COLORS, GRID, MUTED, axis
from rmmbench.report.ways import EXACT, Cell
from rmmbench.results.tidy import Row
from rmmbench.units import byte_unit, format_percent

RESTING, PEAK, SAVED = "between steps", "more at the peak", "saved"


def peak_bars(cell: Cell, heading: str) -> Panel:
    """Return the panel of a cell's peaks, the highest first.

    Each bar shows what is there between steps (parameters, optimizer state, the batch), what the
    peak adds, and what is saved of exact's peak.
    """
    rows = sorted(cell.sized, key=lambda row: -row["peak_allocated_bytes"])
    unit = byte_unit(rows[0]["peak_allocated_bytes"])
    size = unit.size
    exact = cell.exact["peak_allocated_bytes"] if cell.exact else 0
    saved = [_bar(row, cell, max(row["peak_allocated_bytes"], exact) / size, size) for row in rows]
    peaks = [_bar(row, cell, row["peak_allocated_bytes"] / size) for row in rows]
    resting = [_bar(row, cell, row["resting_bytes"] / size) for row in rows]
    places, names = range(len(rows))[::-1], [bar.name for bar in peaks]
    return Panel(
        traces=[
            bars(saved, SAVED, GRID, places).update(legendrank=2000),
            bars(peaks, PEAK, COLORS[5], places),
            bars(resting, RESTING, MUTED, places).update(legendrank=500),
        ],
        x=axis(peak_title(rows, unit), range=[0, 1.3 * max(bar.length for bar in saved)]),
        y=bar_axis(names[::-1]),
        heading=heading,
        legend="memory",
        width=WIDTH,
        height=height(names),
    )


def _bar(row: Row, cell: Cell, length: float, unit_bytes: int = 0) -> Bar:
    """Return a bar; with a unit the peak and the saving are written at its end."""
    name, text = cell.names[row["key"]], ""
    if unit_bytes:
        saving = row["saving"] if row["method"] != EXACT else None
        spared = "" if saving is None else f"   {format_percent(saving)} saved"
        text = f"{row['peak_allocated_bytes'] / unit_bytes:.2f}{spared}"
    return Bar(name, length, text, full_hover(row, name))
