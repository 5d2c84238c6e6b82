"""The paper's Table 2 drawn: the score by ρ, a panel a task."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rmmbench.report import published
from rmmbench.report.figures._notes import join
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._score_dots import Dots, Look, dots, score_height
from rmmbench.report.figures._seeds import headline, training_note
from rmmbench.report.figures._sheet import sheet
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import PAPERS_EXACT
from rmmbench.report.scores import Line, by_place, place_names, read_lines

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing

COLUMNS = 4


class Table2(Figure):
    """Draws a panel a task: in a column a ρ a dot a sketch, with its spread over seeds."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for two panels."""
        places = by_place(filter(_is_drawn, read_lines(data.records)))
        if len([each for each in places.values() if not all(map(_is_exact, each))]) > 1:
            return None
        return "training runs with a score of a way to save memory, on two or more tasks"

    def draw(self, data: FigureData) -> "Drawing":
        """Return the panels, each to its own scale."""
        lines = read_lines(data.records)
        drawn = [line for line in lines if _is_drawn(line)]
        look, names = Look(drawn, by_sketch=False), place_names(drawn)
        places = [each for each in by_place(drawn).values() if not all(map(_is_exact, each))]
        corner = min(COLUMNS, len(places)) - 1
        panels = [
            _panel(data, members, look, names, legend="sketch" if index == corner else None)
            for index, members in enumerate(places)
        ]
        return sheet(
            panels,
            columns=COLUMNS,
            title="Score by task",
            subtitle=join(headline(drawn), "mean ± standard deviation over seeds"),
            footnote=training_note(
                data, lines, drawn, paper=any(panel.has_published for panel in panels)
            ),
        )


def _panel(
    data: FigureData,
    lines: Sequence[Line],
    look: Look,
    names: dict[str, str],
    **more: Any,
) -> Panel:
    how = Dots(
        height=score_height,
        published=lambda line: published.find(data.profile, line.row, "score"),
        title=lines[0].metric_name,
        digits=lines[0].digits,
        is_score=True,
        exact=PAPERS_EXACT,
    )
    return dots(lines, how, look, names[lines[0].place], **more)


def _is_drawn(line: Line) -> bool:
    return line.score is not None


def _is_exact(line: Line) -> bool:
    return line.is_exact
