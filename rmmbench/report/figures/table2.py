"""The paper's Table 2 as dots: the score by ρ, one panel per task."""

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._score_dots import Look, dots, scored, scores_of
from rmmbench.report.figures._seeds import training_sheet
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import PAPERS_EXACT
from rmmbench.report.scores import place_names, read_lines

COLUMNS = 4


class Table2(Figure):
    """Draws a panel per task: a column per ρ, a dot with its spread per sketch."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for two panels."""
        if len(scored(read_lines(data.records))[1]) > 1:
            return None
        return "training runs with a score of a way to save memory, on two or more tasks"

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels, each to its own scale."""
        lines = read_lines(data.records)
        drawn, places = scored(lines)
        look, names = Look(drawn, by_sketch=False), place_names(drawn)
        panels = [
            dots(
                members,
                scores_of(data, members[0], PAPERS_EXACT),
                look,
                names[members[0].place],
            )
            for members in places
        ]
        return training_sheet(
            panels,
            data,
            lines,
            drawn,
            subtitle="mean ± standard deviation over seeds",
            columns=COLUMNS,
            title="Score by task",
            legend="sketch",
        )
