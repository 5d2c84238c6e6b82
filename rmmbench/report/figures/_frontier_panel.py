"""Relative throughput against peak memory, one point per case, coloured by gradient error."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from rmmbench.report.figures._notes import hover, peak_title
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._style import INK, MUTED, RATES, around_one, axis, error_bars
from rmmbench.report.labels import EXACT, ROUNDING, gradient_error, has_exact_gradient
from rmmbench.report.ways import Cell
from rmmbench.results.tidy import Row, interval
from rmmbench.units import Unit, byte_unit, format_bytes

WIDTH, HEIGHT = 640, 450
EXACT_BEST, TRADE = "exact, no other is better", "exact to checkpoint"
BEST = "no other is better at its error"
Errors = tuple[float, str]  # where a range of gradient errors begins, and its name
NO_ERROR, UNKNOWN = "0, or rounding", "not measured"


@dataclass(frozen=True)
class View:
    """The ranges of a panel's axes, its unit of memory, and its size in pixels."""

    unit: Unit
    x: tuple[float, float]
    y: tuple[float, float]
    width: int = WIDTH
    height: int = HEIGHT

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "View":
        """Return a view with room around all points; it begins at 0 memory if that is near."""
        peaks = [row["peak_allocated_bytes"] for row in rows]
        unit = byte_unit(max(peaks))
        low, high = min(peaks) / unit.size, max(peaks) / unit.size
        room = (high - low) or 0.2 * high
        start = 0.0 if low < 0.5 * high else low - 0.15 * room
        bottom, top = around_one(rows)
        margin = 0.08 * (top - bottom)
        return cls(unit, (start, high + 0.14 * room), (bottom - margin, top + margin))

    def pixels(self, row: Row) -> tuple[float, float]:
        """Return a case's point in pixels from the lower left corner."""
        x, y = self.place(row)
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        return across * self.width, (y - self.y[0]) / (self.y[1] - self.y[0]) * self.height

    def bar(self, row: Row) -> tuple[float, float]:
        """Return the ends of a case's error bar in pixels, cut at the panel's edges."""
        low, high = (
            (end - self.y[0]) / (self.y[1] - self.y[0]) * self.height for end in interval(row)
        )
        return max(low, 0.0), min(high, float(self.height))

    def place(self, row: Row) -> tuple[float, float]:
        """Return a case's point in the units of the axes."""
        return row["peak_allocated_bytes"] / self.unit.size, row["relative_throughput"]


def error_colors(rows: Iterable[Row]) -> dict[Errors, str]:
    """Return a colour by range of gradient errors, lighter for larger errors."""
    ranges = sorted({_errors(row) for row in rows})
    real = [errors for errors in ranges if 0 < errors[0] < math.inf]
    steps = [i / max(len(real) - 1, 1) for i in range(len(real))]
    shades = dict(zip(real, sample_colorscale(RATES, steps) if real else [], strict=True))
    ends = {(0.0, NO_ERROR): INK, (math.inf, UNKNOWN): MUTED}
    return {errors: shades.get(errors) or ends[errors] for errors in ranges}


def frontier_panel(cell: Cell, view: View, heading: str, colors: Mapping[Errors, str]) -> Panel:
    """Return the panel of a cell's timed cases; `colors` is from `error_colors`."""
    return Panel(
        traces=[*_lines(cell, view), *_points(cell, view, colors), *_rings(cell, view)],
        x=axis(peak_title(cell.timed, view.unit), range=view.x),
        y=axis(f"throughput ÷ {EXACT}'s", range=view.y),
        heading=heading,
        legend="gradient error",
        width=view.width,
        height=view.height,
    )


def gradient_words(row: Row) -> str:
    """Return a case's gradient error in words."""
    words = gradient_error(row)
    return f"gradient error {words}" if words else "gradient error not measured"


def full_hover(row: Row, name: str) -> str:
    """Return all numbers of a case, one per line, below the name that the figure gives it."""
    lines = [f"<b>{name}</b>", *hover(row).split("<br>")[1:], gradient_words(row)]
    if row["resting_bytes"] is not None:
        lines.append(f"{format_bytes(row['resting_bytes'])} between steps")
    return "<br>".join(lines)


def _lines(cell: Cell, view: View) -> list[Any]:
    """Return the line from exact to checkpoint, and steps through the best exact gradients."""
    dash = {"color": MUTED, "width": 1.5, "dash": "dash"}
    steps = {"color": INK, "width": 1.5, "shape": "hv"}
    best = [view.place(row) for row in cell.exact_best]
    lines = [_line(EXACT_BEST, best, steps)] if best else []
    if cell.line:
        lines.insert(0, _line(TRADE, [view.place(row) for row in cell.line], dash))
    return lines


def _line(name: str, points: Sequence[tuple[float, float]], look: dict[str, Any]) -> go.Scatter:
    x, y = zip(*points, strict=True)
    trace = go.Scatter(x=x, y=y, mode="lines", line=look, name=name, legendgroup=name)
    return trace.update(hoverinfo="skip", legendrank=2000)


def _points(cell: Cell, view: View, colors: Mapping[Errors, str]) -> list[Any]:
    """Return the marks of the cases, one trace per range of gradient errors."""
    by_errors = {errors: [row for row in cell.timed if _errors(row) == errors] for errors in colors}
    return [
        _marks(rows, cell, view, errors[1], colors[errors])
        for errors, rows in by_errors.items()
        if rows
    ]


def _marks(rows: Sequence[Row], cell: Cell, view: View, name: str, color: str) -> go.Scatter:
    x, y = zip(*map(view.place, rows), strict=True)
    marker = {"size": 11, "color": color, "line": {"width": 1, "color": "white"}}
    hovers = [full_hover(row, cell.names[row["key"]]) for row in rows]
    trace = go.Scatter(x=x, y=y, hovertext=hovers, mode="markers", marker=marker, name=name)
    trace.update(error_y=error_bars(rows, color), legendgroup=name, hoverinfo="text")
    return trace


def _rings(cell: Cell, view: View) -> list[go.Scatter]:
    """Return rings around the cases that no other beats at their gradient error."""
    if not cell.best:
        return []
    x, y = zip(*map(view.place, cell.best), strict=True)
    ring = {"symbol": "circle-open", "size": 15, "color": INK, "line": {"width": 1.5}}
    trace = go.Scatter(x=x, y=y, mode="markers", marker=ring, name=BEST, legendgroup=BEST)
    return [trace.update(hoverinfo="skip", legendrank=2001)]


def _errors(row: Row) -> Errors:
    """Return the half decade of a case's gradient error: its lower end, and its name."""
    error = 0.0 if has_exact_gradient(row) else row["gradient_error"]
    if error is None:
        return math.inf, UNKNOWN
    if error < ROUNDING:
        return 0.0, NO_ERROR
    decade = 10.0 ** math.floor(math.log10(error))
    edges = (decade, 3 * decade, 10 * decade)
    low, high = edges[:2] if error < edges[1] else edges[1:]
    return low, f"{low:g} to {high:g}"
