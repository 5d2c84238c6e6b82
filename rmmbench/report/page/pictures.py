"""The figures that a run's records allow, each with its words and a text in its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmmbench.report import figures
from rmmbench.report.figures import FigureData

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing

MOST_POINTS = 60
"""Points that the text in place of a figure tells; of more, it says where they are."""


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        id: Its name, unique on the page.
        what: What figures of its name show, in a line.
        width, height: In pixels.
        json: For plotly.js.
        points: What hovering tells, in words.
        more: How many points are not told.
    """

    id: str
    what: str
    title: str
    subtitle: str
    footnote: str
    width: int
    height: int
    json: str
    points: tuple[str, ...]
    more: int


def pictures(data: FigureData, prefix: str) -> list[Picture]:
    """Return every figure that the records allow, those of the profile first."""
    asked = data.profile.figures
    names = sorted(figures.names(), key=lambda name: _place(name, asked))
    drawn = [name for name in names if figures.get(name).lacks(data) is None]
    summaries = figures.FIGURES.summaries()
    return [
        picture(figures.get(name).draw(data), f"{prefix}-{name}", summaries[name]) for name in drawn
    ]


def _place(name: str, asked: Sequence[str]) -> int:
    return asked.index(name) if name in asked else len(asked)


def picture(drawing: "Drawing", name: str, what: str) -> Picture:
    """Return a drawing for the page, with `name` as its id."""
    from rmmbench.report.figures._unframed import unframed

    panels = unframed(drawing)
    words = (panels.title, panels.subtitle, panels.footnote)
    size = (panels.width, panels.height)
    told = panels.points[:MOST_POINTS]
    return Picture(name, what, *words, *size, panels.json, told, len(panels.points) - len(told))
