"""The paper's Figure 7: the score on the evaluation set by epoch, one line per method."""

from collections.abc import Iterable, Sequence

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._notes import join, kind_names
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._seeds import (
    Curve,
    curve,
    curve_scale,
    curves,
    training_sheet,
)
from rmmbench.report.figures._style import axis, name_colors, rate_colors
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import rate, rate_name
from rmmbench.report.scores import Line, by_place, place_names, read_lines
from rmmbench.results.tidy import kept
from rmmbench.results.trained import Training

COLUMNS, MOST_COLUMNS = 3, 4


class Figure7(Figure):
    """Draws a panel per task and ρ, or per task if there is one sketch; exact is in each."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one line."""
        if any(map(_has_curve, read_lines(data.records))):
            return None
        return "training runs with a score at two or more evaluations"

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels, those of a task to one scale, from most to least kept."""
        lines = read_lines(data.records)
        drawn = [line for line in lines if _has_curve(line)]
        made = _Panels(drawn)
        rates = max(len(groups) for groups in made.groups)
        columns = min(rates if rates > 1 else COLUMNS, MOST_COLUMNS)
        return training_sheet(
            made.all(columns),
            data,
            lines,
            drawn,
            subtitle="mean over seeds",
            columns=columns,
            title="Score by epoch",
            legend="method" if made.is_by_rate else "compression rate",
        )


class _Panels:
    """Which lines each panel has, and their names, colours and scales."""

    def __init__(self, lines: Sequence[Line]) -> None:
        kinds = kind_names([line.row for line in lines])
        others = [line for line in lines if not line.is_exact]
        shades = rate_colors([line.row for line in others])
        self.is_by_rate = len({kinds[line.row["key"]] for line in others}) > 1
        self._places = place_names(lines)
        if self.is_by_rate:
            self._hues = kinds
            self._colors = name_colors(kinds[line.row["key"]] for line in others)
        else:
            self._hues = {line.row["key"]: rate_name(line.row) for line in others}
            self._colors = {rate_name(line.row): shades[kept(line.row)] for line in others}
        self.groups = [self._split(members) for members in by_place(lines).values()]

    def all(self, columns: int) -> list[Panel]:
        """Return the panels, of which `columns` go into a row."""
        groups = [
            (lines, curve_scale(_curve(line) for alike in place for line in alike))
            for place in self.groups
            for lines in place
        ]
        return [
            self._panel(lines, scale, is_first=index % columns == 0)
            for index, (lines, scale) in enumerate(groups)
        ]

    def _split(self, lines: Sequence[Line]) -> list[list[Line]]:
        """Return the lines of one place by panel, with exact in each."""
        exact = [line for line in lines if line.is_exact]
        others = [line for line in lines if not line.is_exact]
        if not self.is_by_rate or not others:
            return [list(lines)]
        rates = sorted({kept(line.row) for line in others}, reverse=True)
        return [[*exact, *(line for line in others if kept(line.row) == size)] for size in rates]

    def _panel(self, lines: Sequence[Line], scale: list[float], *, is_first: bool) -> Panel:
        metric, digits = lines[0].metric_name, lines[0].digits
        kept_here = rate(lines[-1].row) if self.is_by_rate else ""
        return Panel(
            traces=curves(lines, _curve, self._look, x="epoch", y=f"{metric}:", digits=digits),
            x=axis("epoch", nticks=7),
            # Panels of one metric beside one another share the first one's title.
            y=axis(metric if is_first or not self.is_by_rate else "", range=scale),
            heading=join(self._places[lines[0].place], kept_here),
            width=300,
            height=260,
        )

    def _look(self, line: Line) -> tuple[str, str]:
        name = self._hues[line.row["key"]]
        return name, self._colors[name]


def _has_curve(line: Line) -> bool:
    return len(_curve(line)) > 1


def _curve(line: Line) -> Curve:
    """Return the printed score by epoch."""

    def series(training: Training) -> Iterable[tuple[float, float]]:
        epochs = (training.epochs or 0.0) / training.steps if training.steps else 0.0
        for each in training.evaluations:
            if training.metric in each.scores:
                yield round(each.step * epochs, 6), line.scale * each.scores[training.metric]

    return curve(line, series)
