"""Relative throughput against peak memory, a point a case, coloured by gradient error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from rmmbench.figures._notes import hover
from rmmbench.figures._panel import Panel
from rmmbench.figures._point_labels import Box, Placed, PointLabel, place_labels
from rmmbench.figures._style import INK, MUTED, RATES, around_one, axis, error_bars
from rmmbench.figures._ways import EXACT, Cell
from rmmbench.labels import EXACT as PAPERS_EXACT
from rmmbench.labels import ROUNDING, gradient_error
from rmmbench.rows import Row
from rmmbench.units import GIB, MIB, format_bytes

WIDTH, HEIGHT = 660, 450
BEST, TRADE = "no other is better", "exact to checkpoint"
NO_ERROR, UNKNOWN = "0, or rounding", "not measured"
HINT = "above: worth having"
WRAPPED = 30  # characters of a name in a line


@dataclass(frozen=True)
class View:
    """What of memory and throughput a panel shows, and in what unit of memory."""

    unit: str
    unit_bytes: int
    x: tuple[float, float]
    y: tuple[float, float]
    width: int = WIDTH
    height: int = HEIGHT

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "View":
        """Return a view with room about all points of the rows, from 0 where that is not far."""
        peaks = [row["peak_allocated_bytes"] for row in rows]
        unit, size = memory_unit(peaks)
        low, high = min(peaks) / size, max(peaks) / size
        room = (high - low) or 0.2 * high
        start = 0.0 if low < 0.5 * high else low - 0.15 * room
        bottom, top = around_one(rows)
        margin = 0.08 * (top - bottom)
        return cls(unit, size, (start, high + 0.14 * room), (bottom - margin, top + margin))

    def pixels(self, row: Row) -> tuple[float, float]:
        """Return where a case is, from the lower left corner."""
        x, y = self.place(row)
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        return across * self.width, (y - self.y[0]) / (self.y[1] - self.y[0]) * self.height

    def place(self, row: Row) -> tuple[float, float]:
        """Return where a case is on the axes."""
        return row["peak_allocated_bytes"] / self.unit_bytes, row["relative_throughput"]


def memory_unit(sizes: Sequence[int]) -> tuple[str, int]:
    """Return the unit that suits the largest size, and its bytes."""
    return ("MiB", MIB) if max(sizes, default=0) < GIB else ("GiB", GIB)


def frontier_panel(cell: Cell, view: View, heading: str) -> Panel:
    """Return the panel of the cases that have both numbers."""
    return Panel(
        traces=[*_lines(cell, view), *_points(cell, view)],
        x=axis(f"peak memory, {view.unit}", range=view.x),
        y=axis(f"throughput ÷ {EXACT}'s", range=view.y),
        heading=heading,
        legend="gradient error",
        width=view.width,
        height=view.height,
    )


def point_labels(cell: Cell, view: View, axes: str) -> list[dict[str, Any]]:
    """Return annotations: the names of points where there is room, and a word on the line.

    Args:
        cell: Of the panel.
        view: Of the panel.
        axes: The suffix of its axes' names.
    """
    where = {"xref": f"x{axes}", "yref": f"y{axes}"}
    labels = {id(label): row for row, label in _labels(cell, view)}
    hint, taken = _hint(cell, view)
    wanted = [label for _, label in _labels(cell, view)]
    placed = place_labels(wanted, Box(4, 4, view.width - 4, view.height - 4), taken)
    rows = {label.at: row for row, label in _labels(cell, view)}
    del labels
    return [*hint, *(_written(each, rows[each.label.at], cell, view) | where for each in placed)]


def gradient_words(row: Row) -> str:
    """Return a line about a case's gradient error."""
    words = gradient_error(row)
    return f"gradient error {words}" if words else "gradient error not measured"


def full_hover(row: Row, name: str) -> str:
    """Return all that is known of a case, under the name that the figure gives it."""
    lines = [f"<b>{name}</b>", *hover(row).split("<br>")[1:], gradient_words(row)]
    if row["resting_bytes"] is not None:
        lines.append(f"{format_bytes(row['resting_bytes'])} between steps")
    return "<br>".join(lines).replace(PAPERS_EXACT, EXACT)
