"""The figures that a run's records allow, each with its words and a text in its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rmmbench.report import figures
from rmmbench.report.figures import FigureData
from rmmbench.report.figures._sheet import room
from rmmbench.report.figures._unframed import Unframed, unframed

WIDTH = 1500
"""Pixels of a figure before the page makes it smaller."""
MOST_SHRUNK = 2.0
"""How many times as much room as there is a figure may want."""
MOST_PANELS = 40
"""A browser takes many seconds to draw more."""
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


def pictures(data: FigureData, prefix: str) -> tuple[list[Picture], list[str]]:
    """Return every figure that the records allow, those of the profile first.

    Also returns the names of those that a page has no room for: of very many panels, and those
    that would be much too narrow and that nobody asked for.
    """
    asked = data.profile.figures
    names = sorted(figures.names(), key=lambda name: _place(name, asked))
    found, left_out = [], []
    for name in names:
        figure = figures.get(name)
        if figure.lacks(data) is not None:
            continue
        with room(WIDTH):
            drawing = figure.draw(data)
        panels = unframed(drawing)
        is_narrow = panels.shrunk > MOST_SHRUNK and name not in asked
        if is_narrow or panels.panels > MOST_PANELS:
            left_out.append(name)
        else:
            what = figures.FIGURES.summaries()[name]
            found.append(_picture(panels, f"{prefix}-{name}", what))
    return found, left_out


def _place(name: str, asked: Sequence[str]) -> int:
    return asked.index(name) if name in asked else len(asked)


def picture(drawing: Any, name: str, what: str) -> Picture:
    """Return a drawing for the page, with `name` as its id."""
    return _picture(unframed(drawing), name, what)


def _picture(panels: Unframed, name: str, what: str) -> Picture:
    words = (panels.title, panels.subtitle, panels.footnote)
    size = (panels.width, panels.height)
    told = panels.points[:MOST_POINTS]
    return Picture(name, what, *words, *size, panels.json, told, len(panels.points) - len(told))
