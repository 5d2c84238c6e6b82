"""Horizontal bars, a way of saving memory each, with names to the left and words to the right."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from rmmbench.report.figures._style import INK, axis

WIDTH = 640
THICK, PITCH = 0.72, 25  # a bar's part of its place, and the place's height in pixels
LONGEST = 36  # characters of a name in a line


@dataclass(frozen=True)
class Bar:
    """A bar with its name, the words at its end, and its hover text."""

    name: str
    length: float
    text: str
    hover: str


def bars(members: Sequence[Bar], name: str, color: str, places: Sequence[int]) -> go.Bar:
    """Return bars of one colour, each at its place from the bottom up."""
    trace = go.Bar(
        x=[bar.length for bar in members],
        y=list(places),
        orientation="h",
        width=THICK,
        marker={"color": color},
        text=[bar.text for bar in members],
        hovertext=[bar.hover for bar in members],
        hoverinfo="text",
        name=name,
        legendgroup=name,
    )
    words = {"textposition": "outside", "textfont": {"size": 12, "color": INK}}
    return trace.update(cliponaxis=False, constraintext="none", **words)


def name_axis(names: Sequence[str]) -> dict[str, Any]:
    """Return an axis with a name at each place, from the bottom up."""
    ticks = {"tickvals": list(range(len(names))), "ticktext": [wrapped(name) for name in names]}
    return axis("", showgrid=False, range=[-0.6, len(names) - 0.4], ticks="") | ticks


def height(names: Sequence[str]) -> int:
    """Return the height of a panel of so many names."""
    lines = 2 if any("<br>" in wrapped(name) for name in names) else 1
    return max(90, (PITCH + 10 * (lines - 1)) * len(names))


def wrapped(name: str) -> str:
    """Return a name in lines of at most LONGEST characters, where it can be broken."""
    return "<br>".join(textwrap.wrap(name, LONGEST, break_long_words=False, break_on_hyphens=False))


def margin(lines: Sequence[str]) -> int:
    """Return the room to the left of the bars for names in lines, such as an axis's `ticktext`."""
    longest = max((len(line) for name in lines for line in name.split("<br>")), default=0)
    return 26 + round(6.4 * longest)
