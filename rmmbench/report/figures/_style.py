"""The look of all figures: colours that colour-blind readers can tell apart, lines, marks, axes."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from rmmbench.results.tidy import Row, interval, kept

T = TypeVar("T")
Point = tuple[Any, Any, str]

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
INK, MUTED, GRID = "#1f2430", "#667085", "#e6e8ec"
# Okabe and Ito 2008, without their yellow, which is faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# From blue to orange, each lighter than the one before, so that grey print keeps the order.
RATES = ["#1b5fa8", "#7a55b0", "#d1517f", "#f59b2d"]
SYMBOLS = ("circle", "square", "triangle-up", "triangle-down", "pentagon", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
PUBLISHED, HOLLOW = "published", "diamond-open"


def pick(choices: Sequence[T], index: int) -> T:
    """Return the choice at an index, which wraps around at the end."""
    return choices[index % len(choices)]


def grouped(items: Iterable[T], are_alike: Callable[[T, T], bool]) -> list[list[T]]:
    """Return the items in groups, each like the first of its group, in the order they come."""
    groups: list[list[T]] = []
    for item in items:
        group = next((each for each in groups if are_alike(each[0], item)), None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    return groups


def rate_colors(rows: Iterable[Row]) -> dict[tuple[float, int], str]:
    """Return a colour by `kept`: lighter where less is kept, grey for cases without a rate."""
    rates = sorted({kept(row) for row in rows} - {(0, 0)}, reverse=True)
    steps = [i / max(len(rates) - 1, 1) for i in range(len(rates))]
    shades = sample_colorscale(RATES, steps) if steps else []
    return {(0, 0): MUTED, **dict(zip(rates, shades, strict=True))}


def name_colors(names: Iterable[str]) -> dict[str, str]:
    """Return a colour by name."""
    return {name: pick(COLORS, index) for index, name in enumerate(dict.fromkeys(names))}


def name_axis(names: Sequence[str], **settings: Any) -> dict[str, Any]:
    """Return the settings of an axis with names at 0, 1, 2 and so on."""
    ticks = {"tickvals": list(range(len(names))), "ticktext": list(names), "ticks": ""}
    place = {"showgrid": False, "range": [-0.5, len(names) - 0.5]}
    return axis("", **place | ticks | settings)


def axis(title: str, **settings: Any) -> dict[str, Any]:
    """Return the settings of an axis with a title, thin grey lines and small ticks."""
    quiet: dict[str, Any] = {"gridcolor": GRID, "linecolor": MUTED, "zeroline": False}
    quiet |= {"ticks": "outside", "tickcolor": MUTED, "tickfont": {"size": 12.5}}
    return quiet | {"title": {"text": title, "standoff": 8, "font": {"size": 14}}} | settings


def line(points: Iterable[Point], name: str, color: str, index: int = 0) -> go.Scatter:
    """Return a line through points (x, y, hover text); `index` selects its dash and symbol."""
    x, y, text = zip(*points, strict=True)
    look = {"color": color, "dash": pick(DASHES, index), "width": 2.2}
    marker = {"symbol": pick(SYMBOLS, index), "size": 7.5, "color": color}
    trace = go.Scatter(x=x, y=y, hovertext=text, mode="lines+markers", line=look, marker=marker)
    return trace.update(name=name, legendgroup=name, hoverinfo="text")


def marks(points: Iterable[Point], name: str, color: str, symbol: str) -> go.Scatter:
    """Return marks without a line, outside the legend; its entry called `name` hides them too."""
    x, y, text = zip(*points, strict=True)
    marker = {"symbol": symbol, "size": 11, "color": color, "line": {"width": 2}}
    trace = go.Scatter(x=x, y=y, hovertext=text, mode="markers", marker=marker, showlegend=False)
    return trace.update(name=name, legendgroup=name, hoverinfo="text", cliponaxis=False)


def key(name: str, symbol: str) -> go.Scatter:
    """Return a legend entry, in grey, for a kind of mark that is drawn in many colours."""
    return marks([(None, None, "")], name, MUTED, symbol).update(showlegend=True, hoverinfo="skip")


def around_one(rows: Iterable[Row]) -> list[float]:
    """Return the range of an axis of relative throughput, with 1 in it; huge intervals are cut."""
    low = high = 1.0
    for row in rows:
        ratio, (start, end) = row["relative_throughput"], interval(row)
        low = min(low, max(start, 0.75 * ratio))
        high = max(high, min(end, 1.25 * ratio))
    room = (high - low) or 0.1
    return [low - 0.06 * room, high + 0.12 * room]


def error_bars(
    rows: Sequence[Row], color: str, *, inverse: bool = False, of: str = "relative_throughput"
) -> dict[str, Any]:
    """Return error bars for the confidence intervals of a ratio, or of its inverse."""
    above, below = [], []
    for row in rows:
        ratio, (low, high) = row[of], interval(row, of)
        above.append(1 / low - 1 / ratio if inverse else high - ratio)
        below.append(1 / ratio - 1 / high if inverse else ratio - low)
    return bars_of(above, below, color)


def bars_of(
    above: Sequence[float], below: Sequence[float], color: str, thickness: float = 1
) -> dict[str, Any]:
    """Return error bars that reach so far above and below their points."""
    look = {"color": color, "thickness": thickness, "width": 3}
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below} | look


def log_scale(values: Iterable[float], room: float = 0.12) -> dict[str, Any]:
    """Return the settings of a logarithmic axis, with ticks at 1, 2 and 5 where there is room.

    `room` is the free space at each end, in powers of 10.
    """
    known = [math.log10(value) for value in values]
    low, high = min(known, default=0.0) - room, max(known, default=0.0) + room
    steps = (1, 2, 5) if high - low < 2 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [(step, power) for power in powers for step in steps]
    shown = {step * 10.0**power: _written(step, power) for step, power in ticks}
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": list(shown),
        "ticktext": list(shown.values()),
    }


def _written(step: int, power: int) -> str:
    if -3 <= power <= 3:
        return f"{step * 10.0**power:g}"
    return f"{f'{step}·' if step > 1 else ''}10<sup>{power}</sup>"
