"""Panels of memory over time: a step by case, a step by category, and an epoch's peaks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from rmmbench.report.figures._notes import setting_names
from rmmbench.report.figures._panel import Level, Panel
from rmmbench.report.figures._phase_axis import phase_axis, places, walls
from rmmbench.report.figures._style import INK, Point, axis, line, marks, rate_colors
from rmmbench.report.labels import PAPERS_EXACT
from rmmbench.results.tidy import Row, group, kept, kind_columns
from rmmbench.results.timeline import CATEGORIES, Category, Timeline, TimePoint
from rmmbench.units import byte_unit, format_bytes

PEAK = "highest"
# From the bottom of the stack up; what is there between steps comes first.
FILLS: Final[Mapping[Category, str]] = {
    "parameters": "#8a93a3",
    "optimizer": "#c3c9d3",
    "gradients": "#7cc4ea",
    "activations": "#0072B2",
    "sketches": "#D55E00",
    "temporary": "#f0c05a",
}


class Look:
    """How the cases of a figure are drawn: unit, sizes, names and lines."""

    def __init__(
        self, rows: Sequence[Row], timelines: Mapping[str, Timeline], *, is_small: bool
    ) -> None:
        """Take the cases and their timelines by key; `is_small` asks for small panels."""
        self.timelines = timelines
        self.names = setting_names(rows, PAPERS_EXACT)
        self.width, self.height = (250, 200) if is_small else (340, 280)
        self.narrow = 170 if is_small else 230
        self.unit = byte_unit(max(map(self.highest, rows)))
        self._colors = rate_colors(rows)
        kinds = group([row for row in rows if row["method"] != "exact"], kind_columns())
        self._kinds = {row["key"]: i for i, alike in enumerate(kinds) for row in alike}

    def highest(self, row: Row) -> int:
        """Return the most bytes that are drawn of a case."""
        timeline = self.timelines[row["key"]]
        return max(timeline.highest.total_bytes, *(step.peak_bytes for step in timeline.epoch))

    def color(self, row: Row) -> str:
        """Return the colour of a case's line."""
        return INK if row["method"] == "exact" else str(self._colors[kept(row)])

    def line(self, row: Row, points: Sequence[Point]) -> go.Scatter:
        """Return a line of a case."""
        index = self._kinds.get(row["key"], 0)
        return line(points, self.names[row["key"]], self.color(row), index)

    def scaled(self, n_bytes: float) -> float:
        """Return bytes in the unit of the axes."""
        return n_bytes / self.unit.size


def step_panel(
    cell: Sequence[Row], look: Look, scale: float, *, levels: Sequence[Level] = (), **words: Any
) -> Panel:
    """Return live bytes through a step, one line per case, with a dot at its highest point."""
    traces, highest = [], []
    for row in cell:
        timeline = look.timelines[row["key"]]
        name = look.names[row["key"]]
        points = [
            (x, look.scaled(point.total_bytes), _point_text(name, timeline, point))
            for x, point in zip(places(timeline), timeline.points, strict=True)
        ]
        traces.append(look.line(row, points).update(mode="lines", line_width=1.8))
        highest.append(max(points, key=lambda point: point[1]))
    dots = marks(highest, PEAK, INK, "circle").update(showlegend=True)
    dots.update(marker={"size": 7, "line_width": 0, "color": [look.color(row) for row in cell]})
    _set_group_title(traces[0], "compression rate")
    shown = look.timelines[cell[0]["key"]]
    return Panel(
        traces=[*traces, dots],
        x=phase_axis(shown),
        y=axis(f"live memory, {look.unit.name}", range=[0, scale]),
        levels=levels,
        walls=walls(shown),
        width=look.width,
        height=look.height,
        **words,
    )


def category_panel(row: Row | None, look: Look, scale: float) -> Panel:
    """Return live bytes through a case's step as areas stacked by category."""
    traces = list(_stack(row, look)) if row else []
    if traces:
        _set_group_title(traces[0], "by category")
    return Panel(
        traces=traces,
        x=phase_axis(look.timelines[row["key"]]) if row else axis(""),
        y=axis("", range=[0, scale], showticklabels=False),
        subheading=look.names[row["key"]] if row else "",
        width=look.narrow,
        height=look.height,
    )


def epoch_panel(cell: Sequence[Row], look: Look, scale: float) -> Panel:
    """Return the peak of each step of an epoch, one line per case."""
    traces = []
    for row in cell:
        epoch = look.timelines[row["key"]].epoch
        name = look.names[row["key"]]
        points = [
            (
                step.step,
                look.scaled(step.peak_bytes),
                f"<b>{name}</b><br>step {step.step}, {step.rows} rows<br>"
                f"peak {format_bytes(step.peak_bytes)}, at rest {format_bytes(step.resting_bytes)}",
            )
            for step in epoch
        ]
        traces.append(look.line(row, points).update(marker_size=5, line_width=1.8))
    last = max(len(trace.x) for trace in traces)
    few = {"dtick": 1} if last <= 10 else {}
    return Panel(
        traces=traces,
        x=axis("step of the epoch", range=[0.5, last + 0.5], **few),
        y=axis("", range=[0, scale], showticklabels=False),
        subheading="peak of each step",
        width=look.narrow,
        height=look.height,
    )


def _set_group_title(trace: Any, title: str) -> None:
    trace.update(legendgrouptitle={"text": title, "font": {"size": 12}})


def _stack(row: Row, look: Look) -> Iterator[go.Scatter]:
    """Yield an area per category, from the bottom up."""
    timeline = look.timelines[row["key"]]
    x = list(places(timeline))
    below = [0] * len(x)
    for category, color in FILLS.items():
        place = CATEGORIES.index(category)
        below = [
            under + point.live_bytes[place]
            for under, point in zip(below, timeline.points, strict=True)
        ]
        texts = [_point_text(look.names[row["key"]], timeline, p) for p in timeline.points]
        area = go.Scatter(x=x, y=[look.scaled(top) for top in below], hovertext=texts, mode="none")
        fill = "tonexty" if category != next(iter(FILLS)) else "tozeroy"
        area.update(fill=fill, fillcolor=color, name=category, legendgroup=category)
        yield area.update(hoverinfo="text")


def _point_text(name: str, timeline: Timeline, point: TimePoint) -> str:
    lines = [f"<b>{name}</b>", f"{point.phase}, operator {point.time} of {timeline.operators}"]
    lines.append(
        f"{format_bytes(point.total_bytes)} live, peak {format_bytes(timeline.highest.total_bytes)}"
    )
    if point.allocated_bytes is not None:
        lines.append(f"{format_bytes(point.allocated_bytes)} allocated")
    sizes = zip(CATEGORIES, point.live_bytes, strict=True)
    lines += [f"{category} {format_bytes(size)}" for category, size in sizes if size]
    return "<br>".join(lines)
