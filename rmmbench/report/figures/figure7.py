"""The paper's Figure 7: the score on the evaluation set by epoch, one line a way to save memory."""

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
from rmmbench.report.figures._style import INK, axis, name_colors, rate_colors
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import PAPERS_EXACT, rate
from rmmbench.report.scores import Line, Spread, by_place, place_names, read_lines
from rmmbench.results.tidy import kept
from rmmbench.results.trained import Training

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing

COLUMNS, MOST_COLUMNS = 3, 4


class Figure7(Figure):
    """Draws a panel a task and ρ, or a task where there is one sketch, with exact in each."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one line."""
        if any(map(_has_curve, read_lines(data.records))):
            return None
        return "training runs with a score at two or more evaluations"

    def draw(self, data: FigureData) -> "Drawing":
        """Return the panels, those of a task to one scale and from most to least kept."""
        lines = read_lines(data.records)
        drawn = [line for line in lines if _has_curve(line)]
        made = _Panels(drawn)
        rates = max(len(groups) for groups in made.groups)
        panels = made.all(columns := min(rates if rates > 1 else COLUMNS, MOST_COLUMNS))
        return sheet(
            panels,
            columns=columns,
            title="Score by epoch",
            subtitle=join(headline(drawn), "mean over seeds"),
            footnote=training_note(data, lines, drawn),
        )


class _Panels:
    """What the panels have in common: which lines are in one, their names, colours and scales."""

    def __init__(self, lines: Sequence[Line]) -> None:
        kinds = kind_names(lines)
        others = [line for line in lines if not line.is_exact]
        shades = rate_colors([line.row for line in others])
        self._is_by_rate = len({kinds[id(line)] for line in others}) > 1
        self._places = place_names(lines)
        if self._is_by_rate:
            self._hues = kinds
            self._colors = name_colors(kinds[id(line)] for line in others)
        else:
            self._hues = {id(line): rate_name(line.row) for line in others}
            self._colors = {rate_name(line.row): shades[kept(line.row)] for line in others}
        self.groups = [self._split(members) for members in by_place(lines).values()]

    def all(self, columns: int) -> list[Panel]:
        """Return the panels; the last of the first row of `columns` has the legend."""
        groups = [
            (lines, curve_scale(_curve(line) for alike in place for line in alike))
            for place in self.groups
            for lines in place
        ]
        corner = min(columns, len(groups)) - 1
        return [
            self._panel(lines, scale, is_first=index % columns == 0, has_legend=index == corner)
            for index, (lines, scale) in enumerate(groups)
        ]

    def _split(self, lines: Sequence[Line]) -> list[list[Line]]:
        """Return the lines of one place by panel, exact among each."""
        exact = [line for line in lines if line.is_exact]
        others = [line for line in lines if not line.is_exact]
        if not self._is_by_rate or not others:
            return [list(lines)]
        rates = sorted({kept(line.row) for line in others}, reverse=True)
        return [[*exact, *(line for line in others if kept(line.row) == size)] for size in rates]

    def _panel(
        self, lines: Sequence[Line], scale: list[float], *, is_first: bool, has_legend: bool
    ) -> Panel:
        traces = [trace for line in lines for trace in self._traces(line)]
        has_band = any(len(line.finished) > 1 for line in lines)
        kept_here = rate(lines[-1].row) if self._is_by_rate else ""
        return Panel(
            traces=[*traces, band_key()] if has_band else traces,
            x=axis("epoch", nticks=7),
            # Panels of one metric beside one another share the first one's title.
            y=axis(lines[0].metric_name if is_first or not self._is_by_rate else "", range=scale),
            heading=join(self._places[lines[0].place], kept_here),
            legend=("method" if self._is_by_rate else "compression rate") if has_legend else None,
            width=300,
            height=260,
        )

    def _traces(self, line: Line) -> list[Any]:
        name = PAPERS_EXACT if line.is_exact else self._hues[id(line)]
        color = INK if line.is_exact else self._colors[name]

        def text(epoch: float, spread: Spread) -> str:
            score = spread_text(spread, digits=line.digits)
            return f"{hover_title(line)}<br>epoch {epoch:g}<br>{line.metric_name}: {score}"

        return list(curve_traces(_curve(line), name, color, text))


def _has_curve(line: Line) -> bool:
    return len(_curve(line)) > 1


def _curve(line: Line) -> Curve:
    """Return the printed score by epoch."""

    def series(training: Training) -> Iterable[tuple[float, float]]:
        epochs = training.epochs / training.steps if training.steps else 0.0
        for each in training.evaluations:
            if training.metric in each.scores:
                yield round(each.step * epochs, 6), line.scale * each.scores[training.metric]

    return curve(line, series)
