"""Gradient error against peak memory, one point per case with a noisy gradient, by throughput.

It is the frontier seen from its third axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from rmmbench.report.figures._frontier_panel import BEST, View, full_hover
from rmmbench.report.figures._notes import peak_title
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._style import COLORS, INK, axis, log_scale
from rmmbench.report.ways import Cell
from rmmbench.results.tidy import Row

_ROOM = 0.2  # at each end of the axis of errors, in powers of 10
# Where a range of relative throughputs begins, from the slowest, and the range's name.
_SPEEDS = ((0.0, "slower"), (0.95, "as fast as exact, ± 5 %"), (1.05, "faster"))
_COLORS = (COLORS[1], COLORS[4], COLORS[2])


@dataclass(frozen=True)
class ErrorView(View):
    """The ranges of a panel of errors, whose second axis is logarithmic."""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "ErrorView":
        """Return a view with room around all points."""
        powers = [math.log10(row["gradient_error"]) for row in rows]
        usual = View.of(rows)
        return cls(usual.unit, usual.x, (min(powers) - _ROOM, max(powers) + _ROOM))

    def bar(self, row: Row) -> tuple[float, float]:
        """Return the point itself: an error has no bar here."""
        return (self.pixels(row)[1],) * 2

    def place(self, row: Row) -> tuple[float, float]:
        """Return a case's point in the units of the axes, for the second a power of 10."""
        return row["peak_allocated_bytes"] / self.unit.size, math.log10(row["gradient_error"])


def error_panel(cell: Cell, best: Sequence[Row], view: ErrorView, heading: str) -> Panel:
    """Return the panel of a cell of `Cell.noisy`, with rings around its cases in `best`."""
    errors = [row["gradient_error"] for row in cell.timed]
    return Panel(
        traces=[*_points(cell, view), *_rings([row for row in cell.timed if row in best], view)],
        x=axis(peak_title(cell.timed, view.unit), range=view.x),
        y=axis("gradient error", **log_scale(errors, room=_ROOM)),
        heading=heading,
        legend="throughput",
        width=view.width,
        height=view.height,
    )


def _points(cell: Cell, view: ErrorView) -> list[go.Scatter]:
    """Return the marks of the cases, one trace per range of throughput."""
    starts = [start for start, _ in _SPEEDS]
    speeds = [
        sum(row["relative_throughput"] >= start for start in starts[1:]) for row in cell.timed
    ]
    found = []
    for number, ((_, name), color) in enumerate(zip(_SPEEDS, _COLORS, strict=True)):
        rows = [row for row, speed in zip(cell.timed, speeds, strict=True) if speed == number]
        found += [_marks(rows, cell, view, name, color)] if rows else []
    return found


def _marks(rows: Sequence[Row], cell: Cell, view: ErrorView, name: str, color: str) -> go.Scatter:
    x, y = _raw(rows, view)
    marker = {"size": 11, "color": color, "line": {"width": 1, "color": "white"}}
    hovers = [full_hover(row, cell.names[row["key"]]) for row in rows]
    trace = go.Scatter(x=x, y=y, hovertext=hovers, mode="markers", marker=marker, name=name)
    return trace.update(legendgroup=name, hoverinfo="text")


def _rings(best: Sequence[Row], view: ErrorView) -> list[go.Scatter]:
    """Return rings around the cases that no other beats in memory, speed and error."""
    if not best:
        return []
    x, y = _raw(best, view)
    ring = {"symbol": "circle-open", "size": 15, "color": INK, "line": {"width": 1.5}}
    trace = go.Scatter(x=x, y=y, mode="markers", marker=ring, name=BEST, legendgroup=BEST)
    return [trace.update(hoverinfo="skip", legendrank=2001)]


def _raw(rows: Sequence[Row], view: ErrorView) -> tuple[list[float], list[float]]:
    """Return the cases' places; plotly takes the logarithm itself."""
    return [view.place(row)[0] for row in rows], [row["gradient_error"] for row in rows]
