"""One linear layer alone: relative throughput and saved bytes, against rows or ρ."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._notes import (
    case_sheet,
    fastest_first,
    hover,
    join,
    kind_names,
    place_names,
)
from rmmbench.report.figures._panel import Level, Panel
from rmmbench.report.figures._style import (
    around_one,
    axis,
    error_bars,
    grouped,
    line,
    rate_colors,
)
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import EXACT, rate
from rmmbench.results.tidy import PLACE, Row, group, kept

COLUMNS = 4
ALIKE = 0.01  # of exact's saved bytes; sketches that differ by less are drawn once
THROUGHPUT, SAVED = "relative_throughput", "saved_bytes_saving"
TITLES = {THROUGHPUT: f"throughput relative to {EXACT}", SAVED: "activation memory saved, %"}
SUBJECTS = {THROUGHPUT: "time", SAVED: "memory"}


class Linear(Figure):
    """Draws a panel of throughput per sketch, the fastest first, and panels of saved bytes.

    Lines are layers and ρ, against rows; if all have one size, layers, against ρ.
    """

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one mark."""
        if any(_height(row, measure) is not None for row in _rows(data) for measure in TITLES):
            return None
        return "relative throughput or saved bytes of a model linear:INxOUT with a ρ"

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels, those of throughput before those of saved bytes."""
        rows = _rows(data)
        measures = [m for m in TITLES if any(_height(row, m) is not None for row in rows)]
        drawn = [row for row in rows if any(_height(row, m) is not None for m in measures)]
        made = _Panels(drawn)
        panels = [panel for measure in measures for panel in made.of(measure)]
        return case_sheet(
            panels,
            data,
            rows,
            drawn,
            subjects=[SUBJECTS[measure] for measure in measures],
            columns=COLUMNS,
            title="One linear layer",
            legend="layer and ρ",
        )


class _Panels:
    """The x axis, the scales and the looks of lines that the panels share."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._places, self._kinds = place_names(rows, PLACE), kind_names(rows)
        self._colors = rate_colors(rows)
        self._has_sizes = len({row["batch_size"] for row in rows}) > 1
        self._count = 0

    def of(self, measure: str) -> list[Panel]:
        """Return the panels of one measure."""
        known = [row for row in self._rows if row[measure] is not None]
        by_kind = {
            name: [row for row in known if self._kinds[row["key"]] == name]
            for name in fastest_first(known, self._kinds)
        }
        if measure == THROUGHPUT:
            panels = [self._panel(measure, name, rows) for name, rows in by_kind.items()]
        else:
            groups = _alike(by_kind, self._x)
            panels = [self._saved(names, by_kind, len(groups) == 1) for names in groups]
        return panels

    def _saved(self, names: Sequence[str], rows: Mapping[str, list[Row]], is_all: bool) -> Panel:
        """Return the panel of sketches that save the same; the one with the most cases is drawn."""
        first = max(names, key=lambda name: len(rows[name]))
        others = [name for name in names if name != first]
        heading = f"{first} and {len(others)} more" if others else first
        more = f"<br>the same: {', '.join(others)}" if others else ""
        return self._panel(
            SAVED, "all sketches" if is_all and others else heading, rows[first], more
        )

    def _panel(self, measure: str, heading: str, rows: Sequence[Row], more: str = "") -> Panel:
        index, self._count = self._count, self._count + 1
        lines = group(rows, (*PLACE, "rho") if self._has_sizes else PLACE)
        is_first = index % COLUMNS == 0 or measure == SAVED
        return Panel(
            traces=[self._line(measure, alike, more) for alike in lines],
            x=self._x_axis(),
            y=axis(TITLES[measure] if is_first else "", range=self._range(measure)),
            levels=[Level(1)] if measure == THROUGHPUT else [],
            heading=heading,
            width=250,
            height=230,
        )

    def _line(self, measure: str, rows: Sequence[Row], more: str) -> Any:
        rows = sorted(rows, key=self._x)
        place = self._places[rows[0]["key"]]
        layer = place.removeprefix("linear:")
        name = join(layer, rate(rows[0]) if self._has_sizes else "") or rows[0]["model"]
        color = self._colors[kept(rows[0])]
        heights = [_height(row, measure) or 0 for row in rows]
        points = [
            (self._x(row), height, hover(row) + more)
            for row, height in zip(rows, heights, strict=True)
        ]
        index = list(dict.fromkeys(self._places.values())).index(place)
        trace = line(points, name, color, index)
        if measure == THROUGHPUT:
            trace.update(error_y=error_bars(rows, color))
        return trace

    def _x(self, row: Row) -> float:
        return float(row["batch_size"] if self._has_sizes else 100 * row["rho"])

    def _x_axis(self) -> dict[str, Any]:
        values = sorted({self._x(row) for row in self._rows})
        ticks = {"tickvals": values, "ticktext": [f"{value:.10g}" for value in values]}
        shown = ticks if len(values) < 8 else {}
        if self._has_sizes:
            span = [math.log10(values[0]) - 0.06, math.log10(values[-1]) + 0.06]
            return axis("rows", type="log", range=span, **shown)
        return axis("compression rate ρ, %", **shown)

    def _range(self, measure: str) -> list[float]:
        known = [row for row in self._rows if row[measure] is not None]
        if measure == THROUGHPUT:
            return around_one(known)
        low, high = min(0, *(100 * row[SAVED] for row in known)), 100
        return [1.08 * low, 1.08 * high]


def _alike(by_kind: Mapping[str, list[Row]], x: Callable[[Row], float]) -> list[list[str]]:
    """Group the kinds that save the same wherever both were measured."""
    heights = {
        name: {(*(row[column] for column in PLACE), row["rho"], x(row)): row[SAVED] for row in rows}
        for name, rows in by_kind.items()
    }

    def are_alike(one: str, other: str) -> bool:
        mine, theirs = heights[one], heights[other]
        return all(abs(mine[at] - theirs[at]) < ALIKE for at in mine.keys() & theirs.keys())

    return grouped(heights, are_alike)


def _rows(data: FigureData) -> list[Row]:
    rows = [row for row in data.step_rows if row["model"].partition(":")[0] == "linear"]
    rows = [row for row in rows if not row["projection_device"]]
    return sorted((row for row in rows if row["rho"] is not None), key=kept, reverse=True)


def _height(row: Row, measure: str) -> float | None:
    value = row[measure]
    return None if value is None else float(value * (1 if measure == THROUGHPUT else 100))
