"""The paper's Figures 4 and 6: training and evaluation loss against step, one line a ρ."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rmmbench.report.figures._notes import join
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._seeds import (
    Curve,
    band_key,
    curve,
    curve_scale,
    curve_traces,
    headline,
    hover_title,
    kind_names,
    rate_name,
    spread_text,
    training_note,
)
from rmmbench.report.figures._sheet import sheet
from rmmbench.report.figures._style import INK, axis, rate_colors
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import PAPERS_EXACT
from rmmbench.report.scores import Line, by_place, place_names, read_lines
from rmmbench.results.tidy import kept
from rmmbench.results.trained import Training

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing

TITLES = {"training": "training loss, mean", "evaluation": "evaluation loss, mean"}


class Figure4(Figure):
    """Draws two panels a task and sketch, with exact in each, mean and spread over seeds."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one line."""
        if any(map(_has_curve, read_lines(data.records))):
            return None
        return "training runs with a loss at two or more steps"

    def draw(self, data: FigureData) -> "Drawing":
        """Return the panels: sketches below one another, tasks beside one another."""
        lines = read_lines(data.records)
        drawn = [line for line in lines if _has_curve(line)]
        pairs = _pairs(drawn)
        places = len(by_place(drawn))
        across = min(places if 1 < places < 4 else 2, len(pairs))
        return sheet(
            _Panels(drawn, across).of(pairs),
            columns=2 * across,
            title="Training and evaluation loss",
            subtitle=join(headline(drawn), "mean over seeds"),
            footnote=training_note(data, lines, drawn),
        )


class _Panels:
    """What the panels have in common: names, colours, and each place's scales."""

    def __init__(self, lines: Sequence[Line], across: int) -> None:
        self._names, self._kinds = place_names(lines), kind_names(lines)
        self._colors = rate_colors([line.row for line in lines])
        self._scales = {
            (place, what): curve_scale(_curve(line, what) for line in members)
            for place, members in by_place(lines).items()
            for what in TITLES
        }
        self._across = across

    def of(self, pairs: Sequence[list[Line]]) -> list[Panel]:
        """Return two panels a pair."""
        panels = []
        for index, lines in enumerate(pairs):
            is_last = index == min(self._across, len(pairs)) - 1
            for what in TITLES:
                has_legend = is_last and what == "evaluation"
                panels.append(self._panel(lines, what, has_legend=has_legend))
        return panels

    def _panel(self, lines: Sequence[Line], what: str, *, has_legend: bool) -> Panel:
        others = [line for line in lines if not line.is_exact]
        named = self._kinds[id(others[0])] if others else PAPERS_EXACT
        traces = [trace for line in lines for trace in self._traces(line, what)]
        return Panel(
            traces=[*traces, band_key()] if _is_spread(lines) else traces,
            x=axis("step", nticks=6),
            y=axis(TITLES[what], range=self._scales[lines[0].place, what]),
            heading=join(self._names[lines[0].place], named) if what == "training" else "",
            legend="compression rate" if has_legend else None,
            width=250,
            height=165,
        )

    def _traces(self, line: Line, what: str) -> list[Any]:
        points = _curve(line, what)
        if not points:
            return []
        color = INK if line.is_exact else self._colors[kept(line.row)]
        name = PAPERS_EXACT if line.is_exact else rate_name(line.row)

        def text(step: float, spread: Any) -> str:
            return f"{hover_title(line)}<br>step {step:g}<br>{what} loss {spread_text(spread)}"

        return list(curve_traces(points, name, color, text))


def _pairs(lines: Sequence[Line]) -> list[list[Line]]:
    """Return the lines of each kind and place, exact among each; kinds before places."""
    kinds = kind_names(lines)
    places = by_place(lines)
    names = dict.fromkeys(kinds[id(line)] for line in lines if not line.is_exact)
    alone = [members for members in places.values() if all(line.is_exact for line in members)]
    pairs = []
    for name in names:
        for members in places.values():
            if any(kinds[id(line)] == name for line in members):
                pairs.append([line for line in members if line.is_exact or kinds[id(line)] == name])
    return pairs + alone


def _curve(line: Line, what: str) -> Curve:
    return curve(line, _training_loss if what == "training" else _evaluation_loss)


def _training_loss(training: Training) -> Iterable[tuple[float, float]]:
    return ((point.step, point.loss) for point in training.losses)


def _evaluation_loss(training: Training) -> Iterable[tuple[float, float]]:
    return ((point.step, point.loss) for point in training.evaluations)


def _has_curve(line: Line) -> bool:
    return any(len(_curve(line, what)) > 1 for what in TITLES)


def _is_spread(lines: Sequence[Line]) -> bool:
    return any(len(line.finished) > 1 for line in lines)
