"""One linear layer by itself: relative throughput and saved bytes, against rows or against ρ."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rmmbench.figures._notes import footnote, hover, join, kind_names, place_names, subtitle
from rmmbench.figures._panel import Level, Panel
from rmmbench.figures._sheet import sheet
from rmmbench.figures._style import INK, around_one, axis, error_bars, line, name_colors
from rmmbench.figures.figure import Figure, FigureData
from rmmbench.labels import EXACT, rate
from rmmbench.rows import KIND, PLACE, Row, group, kept

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing

THROUGHPUT, SAVED = "relative_throughput", "saved_bytes_saving"
TITLES = {THROUGHPUT: f"throughput relative to {EXACT}", SAVED: "activation memory saved, %"}

SUBJECTS = {THROUGHPUT: "time", SAVED: "memory"}


class Linear(Figure):
    """Draws throughput above saved bytes: against rows, a column a ρ; of one size, against ρ."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one mark."""
        if any(_height(row, measure) is not None for row in _rows(data) for measure in TITLES):
            return None
        return "relative throughput or saved bytes of a model linear:INxOUT with a ρ"

    def draw(self, data: FigureData) -> "Drawing":
        """Return the panels, a row of them a measure."""
        rows = _rows(data)
        measures = [m for m in TITLES if any(_height(row, m) is not None for row in rows)]
        drawn = [row for row in rows if any(_height(row, m) is not None for m in measures)]
        grid = _Grid(drawn)
        columns = group(drawn, ["rho"]) if grid.has_sizes else [drawn]
        panels = [
            grid.panel(
                measure, members, is_first=c == 0, has_legend=r == 0 and members is columns[-1]
            )
            for r, measure in enumerate(measures)
            for c, members in enumerate(columns)
        ]
        return sheet(
            panels,
            columns=len(columns),
            title="One linear layer",
            subtitle=subtitle(drawn),
            footnote=footnote(data, rows, drawn, subjects=[SUBJECTS[m] for m in measures]),
        )


class _Grid:
    """What the panels have in common: what x is, each measure's scale, each line's look."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._places, self._kinds = place_names(rows, PLACE), kind_names(rows)
        self._colors = name_colors(self._kinds.values())
        self.has_sizes = len({row["batch_size"] for row in rows}) > 1

    def panel(
        self, measure: str, rows: Sequence[Row], *, is_first: bool, has_legend: bool
    ) -> Panel:
        """Return the panel of one measure and, where there are more sizes than one, one ρ."""
        known = [row for row in rows if _height(row, measure) is not None]
        traces = [t for at in group(known, PLACE) for t in self._lines(measure, at)]
        return Panel(
            traces=traces,
            x=self._x_axis(),
            y=axis(TITLES[measure] if is_first else "", range=self._range(measure)),
            levels=[Level(1)] if measure == THROUGHPUT else [],
            heading=rate(rows[0]) if self.has_sizes else "",
            legend="sketch" if has_legend else None,
            width=290 if self.has_sizes else 430,
            height=260,
        )

    def _lines(self, measure: str, rows: Sequence[Row]) -> list[Any]:
        """Return a line a sketch, or one line for all of them where they save the same bytes."""
        members = [sorted(alike, key=self._x) for alike in group(rows, KIND)]
        heights = {tuple((self._x(r), f"{r[measure]:.3f}") for r in alike) for alike in members}
        if measure == THROUGHPUT or len(members) == 1 or len(heights) > 1:
            return [self._line(measure, alike) for alike in members]
        trace = self._line(measure, members[0])
        others = ", ".join(self._kinds[alike[0]["key"]] for alike in members[1:])
        trace.update(hovertext=[f"{text}<br>the same: {others}" for text in trace.hovertext])
        name = join(self._places[rows[0]["key"]], "all sketches")
        trace.update(name=name, legendgroup=name, marker_color=INK, line_color=INK)
        return [trace]

    def _line(self, measure: str, rows: Sequence[Row]) -> Any:
        place, kind = self._places[rows[0]["key"]], self._kinds[rows[0]["key"]]
        index = list(dict.fromkeys(self._places.values())).index(place)
        heights = [_height(row, measure) or 0 for row in rows]
        points = [(self._x(r), height, hover(r)) for r, height in zip(rows, heights, strict=True)]
        trace = line(points, join(place, kind), self._colors[kind], index)
        if measure == THROUGHPUT:
            trace.update(error_y=error_bars(heights, rows, self._colors[kind]))
        return trace

    def _x(self, row: Row) -> float:
        return float(row["batch_size"] if self.has_sizes else 100 * row["rho"])

    def _x_axis(self) -> dict[str, Any]:
        values = sorted({self._x(row) for row in self._rows})
        ticks = {"tickvals": values, "ticktext": [f"{value:.10g}" for value in values]}
        shown = ticks if len(values) < 8 else {}
        if self.has_sizes:
            return axis("rows", type="log", **shown)
        return axis("compression rate ρ, %", **shown)

    def _range(self, measure: str) -> list[float]:
        known = [row for row in self._rows if row[measure] is not None]
        if measure == THROUGHPUT:
            return around_one(known)
        low, high = min(0, *(100 * row[SAVED] for row in known)), 100
        return [1.08 * low, 1.08 * high]


def _rows(data: FigureData) -> list[Row]:
    rows = [row for row in data.rows if row["model"].startswith("linear:")]
    return sorted((row for row in rows if row["rho"] is not None), key=kept, reverse=True)


def _height(row: Row, measure: str) -> float | None:
    value = row[measure]
    return None if value is None else float(value * (1 if measure == THROUGHPUT else 100))
