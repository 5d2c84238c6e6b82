"""The paper's Table 2 drawn: the score by ρ, a panel a task."""

from typing import TYPE_CHECKING

from rmmbench.report.figures._notes import join
from rmmbench.report.figures._score_dots import Look, dots, scored, scores_of
from rmmbench.report.figures._seeds import headline, training_note
from rmmbench.report.figures._sheet import sheet
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import PAPERS_EXACT
from rmmbench.report.scores import place_names, read_lines

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing

COLUMNS = 4


class Table2(Figure):
    """Draws a panel a task: in a column a ρ a dot a sketch, with its spread over seeds."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for two panels."""
        if len(scored(read_lines(data.records))[1]) > 1:
            return None
        return "training runs with a score of a way to save memory, on two or more tasks"

    def draw(self, data: FigureData) -> "Drawing":
        """Return the panels, each to its own scale."""
        lines = read_lines(data.records)
        drawn, places = scored(lines)
        look, names = Look(drawn, by_sketch=False), place_names(drawn)
        corner = min(COLUMNS, len(places)) - 1
        panels = [
            dots(
                members,
                scores_of(data, members[0], PAPERS_EXACT),
                look,
                names[members[0].place],
                legend="sketch" if index == corner else None,
            )
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
