"""Table 3's right half, Table 2 and Table 5 as dots: score and training time by sketch and ρ."""

import statistics
from collections.abc import Sequence

from plotly.graph_objects import Figure as Drawing

from rmmbench.report import papers_rows
from rmmbench.report.figures._panel import Level, Panel
from rmmbench.report.figures._score_dots import Dots, Height, Look, dots, scored, scores_of
from rmmbench.report.figures._seeds import training_sheet
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import EXACT
from rmmbench.report.scores import Line, place_names, read_lines
from rmmbench.units import format_count


class Scores(Figure):
    """Draws two panels per task: a column per sketch, a dot with its spread per ρ."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one dot."""
        if scored(read_lines(data.records))[1]:
            return None
        return "training runs with a score of a way to save memory"

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels, a row per task; of many tasks two in a row."""
        lines = read_lines(data.records)
        drawn, places = scored(lines)
        look, names = Look(drawn), place_names(drawn)
        across = 1 if len(places) < 4 else 2
        panels = [
            panel
            for members in places
            for panel in _pair(data, members, look, names[members[0].place])
        ]
        how = "scores: mean ± standard deviation over seeds; times: median and range"
        return training_sheet(
            panels,
            data,
            lines,
            drawn,
            subtitle=how,
            columns=2 * across,
            title="Score and training time by sketch",
            legend="compression rate",
        )


def _pair(data: FigureData, lines: Sequence[Line], look: Look, name: str) -> list[Panel]:
    scores = scores_of(data, lines[0])
    times = Dots(
        height=_time,
        published=lambda line: papers_rows.relative_time(data.profile, line.row),
        title=f"time relative to {EXACT}",
        digits=2,
        levels=(Level(1),),
    )
    return [dots(lines, scores, look, name), dots(lines, times, look, "")]


def _time(line: Line) -> Height | None:
    """Return the median, lowest and highest of time ÷ exact's time over seeds."""
    ratios = sorted(1 / ratio for ratio in line.relative_throughputs)
    if not ratios:
        return None
    middle, low, high = statistics.median(ratios), ratios[0], ratios[-1]
    seeds = format_count(len(ratios), "seed")
    return Height(middle, low, high, f"{middle:.2f}, {low:.2f} to {high:.2f} over {seeds}")
