"""Numbers over time: a panel a measure, a line a case, by the commit that was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._sheet import sheet
from rmmbench.report.figures._style import axis, line, name_axis, name_colors

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing

TITLE = "Each measure by commit"


@dataclass(frozen=True)
class Trend:
    """One case's numbers of one measure: (index of the moment, number, words)."""

    name: str
    points: tuple[tuple[int, float, str], ...]


@dataclass(frozen=True)
class Measure:
    """The trends of one measure; `title` has its unit."""

    title: str
    trends: tuple[Trend, ...]


def commits_drawing(
    moments: Sequence[str], measures: Sequence[Measure], subtitle: str, footnote: str
) -> "Drawing":
    """Return a panel for each measure below one another; `moments` name what was measured."""
    names = [trend.name for measure in measures for trend in measure.trends]
    colors = {
        name: (color, place) for place, (name, color) in enumerate(name_colors(names).items())
    }
    panels = [
        Panel(
            traces=[line(each.points, each.name, *colors[each.name]) for each in measure.trends],
            x=name_axis(moments, tickangle=-35 if len(moments) > 6 else 0),
            y=axis(measure.title, rangemode="tozero"),
            legend="case" if measure is measures[0] else None,
            width=max(430, 60 * len(moments)),
            height=260,
        )
        for measure in measures
    ]
    return sheet(panels, columns=1, title=TITLE, subtitle=subtitle, footnote=footnote)
