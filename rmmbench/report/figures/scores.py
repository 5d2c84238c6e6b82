"""Table 3's right half, Table 2 and Table 5 as dots: score and training time by sketch and ρ."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rmmbench.report import papers_rows
from rmmbench.report.figures._notes import join
from rmmbench.report.figures._panel import Level, Panel
from rmmbench.report.figures._score_dots import Dots, Height, Look, dots, scored, scores_of
from rmmbench.report.figures._seeds import headline, training_note
from rmmbench.report.figures._sheet import sheet
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import EXACT
from rmmbench.report.scores import Line, place_names, read_lines

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing


class Scores(Figure):
    """Draws two panels a task: in a column a sketch a dot a ρ, with its spread over seeds."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one dot."""
        if scored(read_lines(data.records))[1]:
            return None
        return "training runs with a score of a way to save memory"

    def draw(self, data: FigureData) -> "Drawing":
        """Return the panels, a task a row."""
        lines = read_lines(data.records)
        drawn, places = scored(lines)
        look, names = Look(drawn), place_names(drawn)
        across = 1 if len(places) < 4 else 2
        panels = [
            panel
            for index, members in enumerate(places)
            for panel in _pair(data, members, look, names, has_legend=index == across - 1)
        ]
        how = "scores: mean ± standard deviation over seeds; times: median and range"
        return sheet(
            panels,
            columns=2 * across,
            title="Score and training time by sketch",
            subtitle=join(headline(drawn), how),
            footnote=training_note(
                data, lines, drawn, paper=any(panel.has_published for panel in panels)
            ),
        )


def _pair(
    data: FigureData,
    lines: Sequence[Line],
    look: Look,
    names: Mapping[str, str],
    *,
    has_legend: bool,
) -> list[Panel]:
    """Return the panel of scores and that of times."""
    scores = scores_of(data, lines[0])
    times = Dots(
        height=_time,
        published=lambda line: _inverse(papers_rows.relative_throughput(data.profile, line.row)),
        title=f"time relative to {EXACT}",
        digits=2,
        levels=(Level(1),),
    )
    legend = "compression rate" if has_legend else None
    heading = names[lines[0].place]
    return [dots(lines, scores, look, heading), dots(lines, times, look, "", legend=legend)]


def _time(line: Line) -> Height | None:
    """Return the median of a run's time ÷ exact's, with the lowest and highest over seeds."""
    ratios = sorted(1 / ratio for ratio in line.relative_throughputs)
    if not ratios:
        return None
    middle, low, high = statistics.median(ratios), ratios[0], ratios[-1]
    seeds = f"{len(ratios)} seed{'' if len(ratios) == 1 else 's'}"
    return Height(middle, low, high, f"{middle:.2f}, {low:.2f} to {high:.2f} over {seeds}")


def _inverse(ratio: float | None) -> float | None:
    return None if ratio is None else 1 / ratio
