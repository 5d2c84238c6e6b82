"""Bars of peak memory, one per way of saving it, for cells in which no step was timed."""

from rmmbench.report.figures._frontier_panel import full_hover
from rmmbench.report.figures._memory_panel import device_limit
from rmmbench.report.figures._method_bars import WIDTH, Bar, bar_axis, bars, height
from rmmbench.report.figures._notes import peak_title
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._style import COLORS, GRID, MUTED, axis
from rmmbench.report.figures.figure import FigureData
from rmmbench.report.ways import EXACT, Cell
from rmmbench.results.tidy import Row
from rmmbench.units import byte_unit, format_percent

RESTING, PEAK, RESERVED, SAVED = "between steps", "more at the peak", "more reserved", "saved"
PEAK_BYTES, PALE = "peak_allocated_bytes", "#bfe0f5"


def peak_bars(cell: Cell, heading: str, data: FigureData) -> Panel:
    """Return the panel of a cell's peaks, the highest first.

    Each bar shows what is there between steps (parameters, optimizer state, the batch), what the
    peak adds, and what is saved of exact's peak. Where the device's limit is known, it is a dashed
    line, and bars have what is reserved too, which the limit is held against.
    """
    rows = sorted(cell.sized, key=lambda row: -row["peak_allocated_bytes"])
    unit = byte_unit(rows[0]["peak_allocated_bytes"])
    size = unit.size
    limit = device_limit(data, rows, size)
    longest = "reserved_bytes" if limit and all(map(_has_reserved, rows)) else PEAK_BYTES
    exact = cell.exact[longest] if cell.exact else 0
    saved = [_bar(row, cell, max(row[longest], exact) / size, size) for row in rows]
    reserved = [_bar(row, cell, row[longest] / size) for row in rows]
    far = max(bar.length for bar in saved)
    walls, words = list[float](), ""
    if limit is not None:
        is_crossed = limit.y <= far
        walls = [limit.y] if is_crossed else []
        held = "what is reserved" if longest != PEAK_BYTES else "the peak"
        words = f"dashed, for {held}: {limit.text}" if is_crossed else f"all within {limit.text}"
    peaks = [_bar(row, cell, row["peak_allocated_bytes"] / size) for row in rows]
    resting = [_bar(row, cell, row["resting_bytes"] / size) for row in rows]
    places, names = range(len(rows))[::-1], [bar.name for bar in peaks]
    return Panel(
        traces=[
            bars(saved, SAVED, GRID, places).update(legendrank=2000),
            *[bars(reserved, RESERVED, PALE, places).update(legendrank=1500)]
            * (longest != PEAK_BYTES),
            bars(peaks, PEAK, COLORS[5], places),
            bars(resting, RESTING, MUTED, places).update(legendrank=500),
        ],
        x=axis(peak_title(rows, unit), range=[0, 1.3 * far]),
        y=bar_axis(names[::-1]),
        walls=walls,
        heading=heading,
        subheading=words,
        legend="memory",
        width=WIDTH,
        height=height(names),
    )


def _has_reserved(row: Row) -> bool:
    return row["reserved_bytes"] is not None


def _bar(row: Row, cell: Cell, length: float, unit_bytes: int = 0) -> Bar:
    """Return a bar; with a unit the peak and the saving are written at its end."""
    name, text = cell.names[row["key"]], ""
    if unit_bytes:
        saving = row["saving"] if row["method"] != EXACT else None
        spared = "" if saving is None else f"   {format_percent(saving)} saved"
        text = f"{row['peak_allocated_bytes'] / unit_bytes:.2f}{spared}"
    return Bar(name, length, text, full_hover(row, name))
