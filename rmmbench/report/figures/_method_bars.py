"""Horizontal bars, one per way of saving memory: its name to the left, words to the right."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from rmmbench.report.figures._style import INK, name_axis

WIDTH = 640
THICK, PITCH = 0.72, 25  # the share of a row that its bar fills, and the row's height in pixels
LONGEST = 36  # characters in a line of a name


@dataclass(frozen=True)
class Bar:
    """A bar with its name, the words at its end, and its hover text."""

    name: str
    length: float
    text: str
    hover: str


def bars(members: Sequence[Bar], name: str, color: str, places: Sequence[int]) -> go.Bar:
    """Return bars of one colour at `places`, which count from the bottom up."""
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


def bar_axis(names: Sequence[str]) -> dict[str, Any]:
    """Return an axis with the bars' names, wrapped, from the bottom up."""
    return name_axis([wrapped(name) for name in names], range=[-0.6, len(names) - 0.4])


def height(names: Sequence[str]) -> int:
    """Return the height of a panel with these names."""
    lines = 2 if any("<br>" in wrapped(name) for name in names) else 1
    return max(90, (PITCH + 10 * (lines - 1)) * len(names))


def wrapped(name: str) -> str:
    """Return a name broken into lines of at most LONGEST characters where its spaces allow."""
    return "<br>".join(textwrap.wrap(name, LONGEST, break_long_words=False, break_on_hyphens=False))


def margin(lines: Sequence[str]) -> int:
    """Return the left margin that wrapped names need, such as an axis's `ticktext`."""
    longest = max((len(line) for name in lines for line in name.split("<br>")), default=0)
    return 26 + round(6.4 * longest)
