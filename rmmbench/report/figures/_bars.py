"""Grouped bars of measured numbers with hollow marks of published ones, one panel per cell."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from rmmbench.report.figures._notes import heading, hover
from rmmbench.report.figures._panel import Level, Panel
from rmmbench.report.figures._style import (
    HOLLOW,
    INK,
    PUBLISHED,
    Point,
    axis,
    error_bars,
    key,
    marks,
    name_axis,
)
from rmmbench.results.tidy import Row, group, interval

COLUMNS = 4
FILLED = 0.76  # of a group's width; the rest is the space between groups


@dataclass(frozen=True)
class Bars:
    """How to draw cases as bars.

    Attributes:
        value: Returns a bar's height.
        published: Returns the height that the paper gives, or None.
        groups: By a case's key, the name under its group of bars.
        hues: By a case's key, its bar's name in the legend.
        colors: By a bar's name in the legend, its colour.
        text: Formats a height.
        title: Title of the axis of heights.
        levels: Dashed horizontal lines.
        note: Returns the line below the heading of a cell's panel.
        has_interval: Whether heights are 1 ÷ relative throughput, drawn with their intervals.
    """

    value: Callable[[Row], float]
    published: Callable[[Row], float | None]
    groups: Mapping[str, str]
    hues: Mapping[str, str]
    colors: Mapping[str, str]
    text: Callable[[float], str]
    title: str
    levels: tuple[Level, ...] = ()
    note: Callable[[Row], str] = lambda row: ""
    has_interval: bool = False


def bar_panels(rows: Sequence[Row], bars: Bars) -> list[Panel]:
    """Return one panel per cell, all to one scale."""
    cells = group(rows, ["cell"])
    low, high = _extent(rows, bars)
    room, pixels = high - low, 38 if len(cells) == 1 else 27
    scale = [low - 0.06 * room * (low < 0), high + 0.1 * room]
    panels = []
    for index, cell in enumerate(cells):
        groups, hues = _order(cell, bars)
        panels.append(
            Panel(
                traces=_traces(cell, bars, least=0.1 * room),
                x=name_axis(groups),
                y=axis(bars.title if index % COLUMNS == 0 else "", range=scale),
                levels=bars.levels,
                heading=heading(cell, rows),
                subheading=bars.note(cell[0]),
                width=max(230, round(len(groups) * len(hues) * pixels / FILLED)),
                height=320,
            )
        )
    return panels


def _extent(rows: Sequence[Row], bars: Bars) -> tuple[float, float]:
    heights = [level.y for level in bars.levels]
    for row in rows:
        height = bars.value(row)
        # The scale has room for intervals, except for huge ones.
        heights.append(min(1 / interval(row)[0], 1.25 * height) if bars.has_interval else height)
    heights += [height for height in map(bars.published, rows) if height is not None]
    return min(0, *heights), max(0, *heights)


def _order(cell: Sequence[Row], bars: Bars) -> tuple[list[str], list[str]]:
    hues = {bars.hues[row["key"]] for row in cell}
    groups = dict.fromkeys(bars.groups[row["key"]] for row in cell)
    return list(groups), [hue for hue in bars.colors if hue in hues]


def _traces(cell: Sequence[Row], bars: Bars, *, least: float) -> list[Any]:
    """Return the bars, with heights of at least `least` written in them, and the hollow marks."""
    groups, hues = _order(cell, bars)
    width, traces = FILLED / len(hues), []
    middle = {row["key"]: groups.index(bars.groups[row["key"]]) for row in cell}
    shift = {hue: (index + 0.5) * width - FILLED / 2 for index, hue in enumerate(hues)}
    for hue in hues:
        members = [row for row in cell if bars.hues[row["key"]] == hue]
        heights = [bars.value(row) for row in members]
        trace = go.Bar(
            x=[middle[row["key"]] + shift[hue] for row in members],
            y=heights,
            width=0.92 * width,
            marker={"color": bars.colors[hue]},
            text=[bars.text(height) if height >= least else "" for height in heights],
            hovertext=[hover(row) for row in members],
        )
        trace.update(textposition="inside", insidetextanchor="start", textangle=0, hoverinfo="text")
        trace.update(
            textfont={"color": "white", "size": 10.5},
            constraintext="none",
            name=hue,
            legendgroup=hue,
        )
        if bars.has_interval:
            trace.update(error_y=error_bars(members, INK, inverse=True))
        traces.append(trace)
    points = list(_published(cell, bars, middle, shift))
    if points:
        hollow = marks(points, PUBLISHED, INK, HOLLOW.removesuffix("-open"))
        # White inside, so that the mark can be seen on a bar too.
        traces += [
            hollow.update(marker_color="white", marker_line_color=INK),
            key(PUBLISHED, HOLLOW),
        ]
    return traces


def _published(
    cell: Sequence[Row], bars: Bars, middle: Mapping[str, int], shift: Mapping[str, float]
) -> Iterator[Point]:
    """Yield a hollow mark per bar, or one in a group's middle where all of its bars share it."""
    for position in dict.fromkeys(middle.values()):
        members = [row for row in cell if middle[row["key"]] == position]
        heights = {row["key"]: bars.published(row) for row in members}
        is_shared = len(set(heights.values())) == 1
        for row in members[: 1 if is_shared else None]:
            height = heights[row["key"]]
            if height is not None:
                x = position + (0 if is_shared else shift[bars.hues[row["key"]]])
                yield x, height, f"<b>{PUBLISHED}</b><br>{bars.text(height)}"
