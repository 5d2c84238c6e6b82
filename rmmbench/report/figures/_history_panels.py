"""The figure of a history: each number over commits, ÷ that of its first run."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final, NamedTuple

import plotly.graph_objects as go
from plotly.graph_objects import Figure as Drawing

from rmmbench.report.check import wording
from rmmbench.report.check.directions import is_worse
from rmmbench.report.figures._notes import join
from rmmbench.report.figures._panel import Level, Panel
from rmmbench.report.figures._sheet import sheet
from rmmbench.report.figures._style import COLORS, DASHES, MUTED, axis, pick
from rmmbench.report.history.over_commits import History
from rmmbench.report.history.series import Move, Series, confidence
from rmmbench.report.history.short_names import short_names

MOST_PANELS: Final = 6
FIRST: Final = (
    *("peak_allocated_bytes", "relative_throughput", "samples_per_second"),
    *("gradient_error", "score"),
)
"""What is drawn where nothing moved."""
MOST_NAMES: Final = 8
MOST_TICKS: Final = 10


class _Look(NamedTuple):
    name: str
    color: str
    dash: str


_STEADY, _LESS = _Look("did not move", "#c3c9d2", "solid"), _Look("moved less", MUTED, "solid")


def draw_history(history: History) -> Drawing:
    """Return a panel per number that moved, or if none did per number; a line is a case.

    Cases that did not move are grey. A mark is the first commit at which a number moved: filled
    where it got worse, hollow where it got better.
    """
    shown, more = _numbers(history)
    looks = _looks(history, [each for what in shown for each in _of(history, what)])
    panels = [_panel(history, what, looks) for what in shown]
    hidden = f" Not drawn: {', '.join(wording.PROSE[what] for what in more)}." if more else ""
    note = (
        "Marks are where a number moved for sure: filled if it got worse, hollow if it got better. "
        f"Times and scores have thick lines for the mean between moves.{hidden} "
    )
    return sheet(
        panels,
        columns=2,
        title="What moved, and when",
        subtitle=escape(join(short_names(history.series)[1], history.source, history.counted)),
        footnote=note + ". ".join(history.notes),
        legend="case",
    )


def _numbers(history: History) -> tuple[list[str], list[str]]:
    """Return the numbers to draw, those that moved or else those of `FIRST`, and the others."""
    moved: dict[str, int] = {}
    for each in history.series:
        if not isinstance(each.points[0].value, str):
            moved[each.what] = moved.get(each.what, 0) + len(each.moves)
    shown = [what for what, count in moved.items() if count]
    shown = (shown or [what for what in FIRST if what in moved] or list(moved))[:MOST_PANELS]
    return shown, [what for what in moved if what not in shown]


def _of(history: History, what: str) -> list[Series]:
    return [each for each in history.series if each.what == what]


def _looks(history: History, series: Iterable[Series]) -> dict[str, _Look]:
    """Return the look of each case that moved, by its key, those that moved most first."""
    names, _ = short_names(history.series)
    most: dict[str, float] = {}
    for each in series:
        for move in each.moves:
            most[each.key] = max(most.get(each.key, 0.0), abs(each.finding(move).change or 0.0))
    keys = sorted(most, key=lambda key: -most[key])[:MOST_NAMES]
    return {
        key: _Look(escape(names[key]), pick(COLORS, place), pick(DASHES, place // len(COLORS)))
        for place, key in enumerate(keys)
    }


def _panel(history: History, what: str, looks: Mapping[str, _Look]) -> Panel:
    places = {commit.code: place for place, commit in enumerate(history.commits)}
    series = [each for each in _of(history, what) if each.points[0].value]
    # Grey lines first, below the coloured ones.
    series.sort(key=lambda each: each.key in looks and bool(each.moves))
    traces: list[Any] = []
    for each in series:
        traces += _lines(each, places, looks)
    moved = sum(bool(each.moves) for each in series)
    first = next(iter(series), None)
    direction = "higher is better" if first and not _is_higher_worse(first) else "lower is better"
    return Panel(
        traces=traces,
        x=_commit_axis(history),
        y=axis(f"{wording.PROSE[what]} ÷ the first run's", range=_range(traces)),
        levels=[Level(1.0)],
        heading=wording.PROSE[what],
        subheading=f"{direction} · {moved or 'none'} of {len(series)} moved",
        width=430,
        height=280,
    )


def _range(traces: Sequence[Any]) -> list[float]:
    """Return the range of y: of all values, and a tenth of a percent around 1 at the least."""
    values = [0.999, 1.001, *(y for trace in traces for y in trace.y)]
    low, high = min(values), max(values)
    room = 0.08 * (high - low)
    return [low - room, high + room]


def _is_higher_worse(series: Series) -> bool:
    training = series.points[-1].record.training if series.what == "score" else None
    higher = training.higher_is_better if training else None
    return is_worse(series.what, 1.0, 2.0, higher_is_better=higher)


def _commit_axis(history: History) -> dict[str, Any]:
    names = [commit.name for commit in history.commits]
    step = -(-len(names) // MOST_TICKS)
    ticks = list(range(0, len(names), step))
    settings: dict[str, Any] = {"tickvals": ticks, "ticktext": [escape(names[i]) for i in ticks]}
    settings |= {"range": [-0.4, len(names) - 0.6], "showgrid": False, "tickangle": -35}
    return axis("", **settings)


def _lines(
    series: Series, places: Mapping[str, int], looks: Mapping[str, _Look]
) -> list[go.Scatter]:
    """Return a series' line, its mean between moves where it is noisy, and its marks."""
    name, color, dash = looks.get(series.key, _LESS) if series.moves else _STEADY
    first = float(series.points[0].value)
    x = [places[point.commit.code] for point in series.points]
    y = [float(point.value) / first for point in series.points]
    text = [_hover(series, index) for index in range(len(x))]
    line = {"color": color, "dash": dash, "width": 1.8 if series.is_exact else 1.0}
    line |= {"shape": "hv" if series.is_exact else "linear"}
    marker = {"size": 4.5, "color": color}
    about = {"name": name, "legendgroup": name, "hoverinfo": "text"}
    traces = [
        go.Scatter(
            x=x, y=y, hovertext=text, mode="lines+markers", line=line, marker=marker, **about
        )
    ]
    if series.moves and not series.is_exact:
        levels = [float(level) / first for level in series.levels()]
        mean = {"color": color, "width": 3.2, "shape": "hv"}
        traces.append(
            go.Scatter(
                x=x,
                y=levels,
                mode="lines",
                line=mean,
                showlegend=False,
                **about | {"hoverinfo": "skip"},
            )
        )
    traces += [
        _mark(series, move, x[move.index], y[move.index], color, about) for move in series.moves
    ]
    return traces


def _mark(
    series: Series, move: Move, x: int, y: float, color: str, about: dict[str, Any]
) -> go.Scatter:
    marker = {"symbol": "diamond" if move.is_worse else "diamond-open", "size": 11, "color": color}
    text = _hover(series, move.index)
    return go.Scatter(
        x=[x], y=[y], hovertext=[text], mode="markers", marker=marker, showlegend=False, **about
    )


def _hover(series: Series, index: int) -> str:
    """Return what is known of a point, one line each."""
    point, move = series.points[index], _at(series.moves, index)
    lines = [
        f"<b>{escape(wording.name(series.case))}</b>",
        escape(_about(point.commit.name, point.commit.title)),
    ]
    lines.append(f"{wording.PROSE[series.what]} {wording.shown(series.what, point.value)}")
    if move is not None:
        finding = series.finding(move)
        before, after = (wording.shown(series.what, value) for value in (move.before, move.after))
        lines.append(
            f"moved {wording.signed(finding)}: {before} → {after} ({confidence(series, move)})"
        )
        lines += [escape(f"also changed: {change}") for change in move.also]
    return "<br>".join(lines)


def _at(moves: Sequence[Move], index: int) -> Move | None:
    return next((move for move in moves if move.index == index), None)


def _about(name: str, title: str) -> str:
    return f"{name} {title}".strip()
