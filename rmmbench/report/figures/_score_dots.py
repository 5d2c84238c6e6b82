"""Dots of numbers over seeds with their spread, one column per sketch and one colour per rate."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from rmmbench.report import papers_rows
from rmmbench.report.figures._notes import kind_names
from rmmbench.report.figures._panel import Level, Panel
from rmmbench.report.figures._seeds import (
    band,
    band_key,
    hover_title,
    spread_text,
)
from rmmbench.report.figures._style import (
    HOLLOW,
    INK,
    MUTED,
    PUBLISHED,
    axis,
    bars_of,
    key,
    marks,
    name_axis,
    name_colors,
    rate_colors,
)
from rmmbench.report.figures.figure import FigureData
from rmmbench.report.labels import EXACT, rate_name, setting
from rmmbench.report.scores import Line, by_place
from rmmbench.results.tidy import kept

FILLED = 0.72  # of a column's width; the rest is the space between columns
MORE, LESS, UNTOLD = "differs by more than chance", "no more than chance", "no verdict"
SYMBOLS = {True: "circle", False: "circle-open", None: "circle-open-dot"}
WORDS = {True: MORE, False: LESS, None: UNTOLD}


@dataclass(frozen=True)
class Height:
    """The height of a dot, the ends of its error bar, and both in words."""

    middle: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Dots:
    """How to draw lines as dots.

    Attributes:
        height: Returns the height of a line's dot; None for no dot.
        published: Returns the height that the paper gives, or None.
        title: Title of the axis of heights.
        digits: Decimal places of a published height.
        levels: Dashed horizontal lines.
        is_score: Whether exact is drawn as a band, and dots that differ from it by no more than
            chance are hollow.
        exact: The name of exact's line.
    """

    height: Callable[[Line], Height | None]
    published: Callable[[Line], float | None]
    title: str
    digits: int
    levels: tuple[Level, ...] = ()
    is_score: bool = False
    exact: str = EXACT


def score_height(line: Line) -> Height | None:
    """Return the mean of the printed score, ± one standard deviation over seeds."""
    printed = line.printed_score
    if printed is None:
        return None
    return Height(printed.mean, *printed.ends, spread_text(printed, digits=line.digits))


def scores_of(data: FigureData, line: Line, exact: str = EXACT) -> Dots:
    """Return how to draw the scores of a line's place."""
    return Dots(
        height=score_height,
        published=lambda each: papers_rows.find(data.profile, each.row, "score"),
        title=line.metric_name,
        digits=line.digits,
        is_score=True,
        exact=exact,
    )


def scored(lines: Sequence[Line]) -> tuple[list[Line], list[list[Line]]]:
    """Return the lines with a score; and by place, where there is more than exact."""
    drawn = [line for line in lines if line.score is not None]
    places = [each for each in by_place(drawn).values() if not all(x.is_exact for x in each)]
    return drawn, places


class Look:
    """The columns of dots, the dots in a column and their colours, the same in all panels.

    A column is a sketch and a dot in it a rate, or the other way round.
    """

    def __init__(self, lines: Sequence[Line], *, by_sketch: bool = True) -> None:
        """Take the lines of all panels."""
        others = [line for line in lines if not line.is_exact]
        others.sort(key=lambda line: kept(line.row), reverse=True)
        rates = {line.row["key"]: rate_name(line.row) for line in others}
        kinds = kind_names([line.row for line in lines if not line.is_exact])
        self._columns = kinds if by_sketch else rates
        self._hues = rates if by_sketch else kinds
        self.columns = list(dict.fromkeys(self._columns.values()))
        shades = rate_colors([line.row for line in others])
        by_rate = {rates[line.row["key"]]: shades[kept(line.row)] for line in others}
        self.colors = by_rate if by_sketch else name_colors(kinds.values())
        self.has_verdicts = any(_verdict(line) is not None for line in others)

    def hue(self, line: Line) -> str:
        """Return the legend's name of a line's dot."""
        return self._hues[line.row["key"]]

    def x(self, line: Line) -> float:
        """Return the x of a line's dot; for exact, the right end of its line."""
        if line.is_exact:
            return len(self.columns) - 0.5
        hues = list(self.colors)
        place = (hues.index(self.hue(line)) + 0.5) / len(hues) - 0.5
        return self.columns.index(self._columns[line.row["key"]]) + FILLED * place


def dots(lines: Sequence[Line], how: Dots, look: Look, heading: str) -> Panel:
    """Return the panel of the lines of one place."""
    others = [line for line in lines if not line.is_exact and how.height(line) is not None]
    exact = [line for line in lines if line.is_exact and how.is_score]
    traces = [*_reference(exact, how, look), *_by_hue(others, how, look)]
    traces += _published([*exact, *others], how, look)
    verdicts = {_verdict(line) for line in others} if _are_shown(how, look) else set()
    traces += [key(WORDS[each], SYMBOLS[each]) for each in (True, False, None) if each in verdicts]
    return Panel(
        traces=traces,
        x=name_axis(look.columns),
        y=axis(how.title, range=_range(others + exact, how)),
        levels=how.levels,
        heading=heading,
        width=max(250, 24 * len(look.columns) * len(look.colors)),
        height=260,
    )


def _range(lines: Sequence[Line], how: Dots) -> list[float]:
    """Return a range that includes all dots with their errors, published numbers and levels."""
    heights = [height for line in lines if (height := how.height(line)) is not None]
    ends = [end for height in heights for end in (height.low, height.high)]
    ends += [value for line in lines if (value := how.published(line)) is not None]
    ends += [level.y for level in how.levels]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    room = (high - low) or 1.0
    return [low - 0.08 * room, high + 0.08 * room]


def _by_hue(lines: Sequence[Line], how: Dots, look: Look) -> Iterator[Any]:
    """Yield the dots of each colour."""
    for name, color in look.colors.items():
        alike = [line for line in lines if look.hue(line) == name]
        heights = [height for line in alike if (height := how.height(line)) is not None]
        if not heights:
            continue
        words = [
            f"{hover_title(line)}<br>{how.title}: {height.text}"
            for line, height in zip(alike, heights, strict=True)
        ]
        above = [height.high - height.middle for height in heights]
        below = [height.middle - height.low for height in heights]
        errors = bars_of(above, below, color, thickness=1.2) | {"visible": any(above + below)}
        trace = go.Scatter(
            x=[look.x(line) for line in alike],
            y=[height.middle for height in heights],
            mode="markers",
            marker={"color": color, "size": 10, "line": {"width": 2, "color": color}},
            error_y=errors,
        )
        if _are_shown(how, look):
            verdicts = [_verdict(line) for line in alike]
            # White inside rather than open, so that the error bar does not show through.
            inside = ["white" if each is False else color for each in verdicts]
            symbols = ["circle" if each is False else SYMBOLS[each] for each in verdicts]
            trace.update(marker_symbol=symbols, marker_color=inside)
        yield trace.update(name=name, legendgroup=name, hoverinfo="text", hovertext=words)


def _reference(exact: Sequence[Line], how: Dots, look: Look) -> Iterator[Any]:
    """Yield exact's mean as a line across the panel, and its spread as a band."""
    height = score_height(exact[0]) if exact else None
    if height is None:
        return
    across = (-0.5, len(look.columns) - 0.5)
    if height.high > height.low:
        yield band(across, (height.low,) * 2, (height.high,) * 2, MUTED, how.exact)
        yield band_key()
    trace = go.Scatter(x=across, y=(height.middle,) * 2, mode="lines", hoverinfo="text")
    trace.update(line={"color": INK, "width": 1.6}, name=how.exact, legendgroup=how.exact)
    yield trace.update(hovertext=[f"<b>{how.exact}</b><br>{height.text}"] * 2)


def _published(lines: Sequence[Line], how: Dots, look: Look) -> Iterator[Any]:
    heights = [(line, how.published(line)) for line in lines]
    points = [
        (look.x(line), height, f"<b>{PUBLISHED}</b><br>{setting(line.row)} {height:.{how.digits}f}")
        for line, height in heights
        if height is not None
    ]
    if points:
        yield marks(points, PUBLISHED, INK, HOLLOW)
        yield key(PUBLISHED, HOLLOW)


def _are_shown(how: Dots, look: Look) -> bool:
    return how.is_score and look.has_verdicts


def _verdict(line: Line) -> bool | None:
    return line.against.is_more_than_chance if line.against else None
