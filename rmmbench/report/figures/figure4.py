"""The paper's Figures 4 and 6: training and evaluation loss against step, one line per ρ."""

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
from rmmbench.report.figures._style import axis, rate_colors
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import PAPERS_EXACT, rate_name
from rmmbench.report.scores import Line, by_place, place_names, read_lines
from rmmbench.results.tidy import kept
from rmmbench.results.trained import Training

TITLES = {"training": "training loss, mean", "evaluation": "evaluation loss, mean"}


class Figure4(Figure):
    """Draws two panels per task and sketch: exact and every ρ, mean and spread over seeds."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one line."""
        if any(map(_has_curve, read_lines(data.records))):
            return None
        return "training runs with a loss at two or more steps"

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels: a row per sketch, tasks side by side."""
        lines = read_lines(data.records)
        drawn = [line for line in lines if _has_curve(line)]
        pairs = _pairs(drawn)
        places = len(by_place(drawn))
        across = min(places if 1 < places < 4 else 2, len(pairs))
        made = _Panels(drawn)
        return training_sheet(
            [made.panel(pair, what) for pair in pairs for what in TITLES],
            data,
            lines,
            drawn,
            subtitle="mean over seeds",
            columns=2 * across,
            title="Training and evaluation loss",
            legend="compression rate",
        )


class _Panels:
    """The names, colours and scales that the panels share."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._names, self._kinds = place_names(lines), kind_names([line.row for line in lines])
        self._colors = rate_colors([line.row for line in lines])
        self._scales = {
            (place, what): curve_scale(_curve(line, what) for line in members)
            for place, members in by_place(lines).items()
            for what in TITLES
        }

    def panel(self, lines: Sequence[Line], what: str) -> Panel:
        """Return the panel of one kind of loss, named by `TITLES`, of one pair's lines."""
        others = [line for line in lines if not line.is_exact]
        named = self._kinds[others[0].row["key"]] if others else PAPERS_EXACT
        return Panel(
            traces=curves(
                lines, lambda line: _curve(line, what), self._look, x="step", y=f"{what} loss"
            ),
            x=axis("step", nticks=6),
            y=axis(TITLES[what], range=self._scales[lines[0].place, what]),
            heading=join(self._names[lines[0].place], named) if what == "training" else "",
            width=250,
            height=165,
        )

    def _look(self, line: Line) -> tuple[str, str]:
        return rate_name(line.row), self._colors[kept(line.row)]


def _pairs(lines: Sequence[Line]) -> list[list[Line]]:
    """Return the lines of each kind and place, with exact in each; by kind, then place."""
    kinds = kind_names([line.row for line in lines])
    places = by_place(lines)
    names = dict.fromkeys(kinds[line.row["key"]] for line in lines if not line.is_exact)
    alone = [members for members in places.values() if all(line.is_exact for line in members)]
    pairs = []
    for name in names:
        for members in places.values():
            if any(kinds[line.row["key"]] == name for line in members):
                pairs.append(
                    [line for line in members if line.is_exact or kinds[line.row["key"]] == name]
                )
    return pairs + alone


def _curve(line: Line, what: str) -> Curve:
    return curve(line, _training_loss if what == "training" else _evaluation_loss)


def _training_loss(training: Training) -> Iterable[tuple[float, float]]:
    return ((point.step, point.loss) for point in training.losses)


def _evaluation_loss(training: Training) -> Iterable[tuple[float, float]]:
    return ((point.step, point.loss) for point in training.evaluations)


def _has_curve(line: Line) -> bool:
    return any(len(_curve(line, what)) > 1 for what in TITLES)
