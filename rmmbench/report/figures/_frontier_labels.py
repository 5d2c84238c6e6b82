"""Places names beside the points of a frontier so that they cover neither points nor each other.

Plotly writes all text at the same side of its point, so names of near points would overlap. Sizes
are in pixels from the panel's lower left corner.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from rmmbench.report.figures._frontier_panel import View
from rmmbench.report.figures._method_bars import wrapped
from rmmbench.report.figures._style import INK, MUTED
from rmmbench.report.ways import EXACT, Cell
from rmmbench.results.tidy import Row

SIZE, CHARACTER, LINE_HEIGHT = 11.5, 5.9, 14.0
FAR = (9.0, 20.0, 34.0, 50.0, 68.0, 88.0)
MARK, PIECE = 6.0, 12.0
ANGLES = tuple(math.radians(angle) for angle in (0, 180, -90, 90, -45, -135, 45, 135, -20, 20))
# The cost of a name per piece of a line that it covers, and per point or name that it covers.
CROSSING, TOUCHING = 1.3, 20.0
DEAREST = 2.4  # the highest cost of an optional name

Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: "Box") -> float:
        """Return the area of the intersection."""
        across = min(self.right, other.right) - max(self.left, other.left)
        along = min(self.top, other.top) - max(self.bottom, other.bottom)
        return across * along if across > 0 and along > 0 else 0.0


@dataclass(frozen=True)
class Label:
    """A name and its point; a needed name is written even if it covers something."""

    text: str
    at: Point
    is_needed: bool


@dataclass(frozen=True)
class Place:
    """A place for a name: its shift from the point, and the line between the two if it is far."""

    shift: Point
    anchors: tuple[str, str]
    box: Box
    link: tuple[Box, ...]

    def annotation(self) -> dict[str, Any]:
        """Return plotly's settings of the annotation."""
        (right, up), (across, along) = self.shift, self.anchors
        where: dict[str, Any] = {"xanchor": across, "yanchor": along, "borderpad": 0}
        if not self.link:
            return where | {"showarrow": False, "xshift": right, "yshift": up}
        look = {"arrowhead": 0, "arrowwidth": 0.8, "arrowcolor": MUTED, "standoff": MARK}
        return where | look | {"showarrow": True, "ax": right, "ay": -up}


def point_labels(cell: Cell, view: View, axes: str) -> tuple[list[dict[str, Any]], list[Row]]:
    """Return the annotations of a panel, and the cases left without a name, by rising peak.

    `axes` is the suffix of the panel's axes' names.
    """
    rows = _by_need(cell, view)
    labels = [Label(wrapped(cell.names[row["key"]]), view.pixels(row), need) for row, need in rows]
    frame = Box(4, 4, view.width - 4, view.height - 4)
    written, unnamed = [], []
    places = place_labels(labels, frame, list(_lines(cell, view)))
    for (row, _), label, place in zip(rows, labels, places, strict=True):
        if place is None:
            unnamed.append(row)
            continue
        x, y = view.place(row)
        font = {"size": SIZE, "color": INK if label.is_needed else MUTED}
        look = {"text": label.text, "align": place.anchors[0], "font": font}
        where = {"x": x, "y": y, "xref": f"x{axes}", "yref": f"y{axes}"}
        written.append(where | look | place.annotation())
    return written, sorted(unnamed, key=lambda row: row["peak_allocated_bytes"])


def place_labels(labels: Sequence[Label], frame: Box, lines: Sequence[Box]) -> list[Place | None]:
    """Return a place per label; None for an optional label without a free place.

    Args:
        labels: In order of precedence.
        frame: Every label stays inside it.
        lines: Boxes that labels should leave free if they can.
    """
    read = [_around(label.at, MARK) for label in labels]
    found: list[Place | None] = []
    for label in labels:
        own = _around(label.at, MARK)
        choices = [place for place in _choices(label) if frame.overlap(place.box) >= _area(place)]
        costs = [_cost(place, [box for box in read if box != own], lines) for place in choices]
        least = min(costs, default=math.inf)
        has_place = choices and (least < DEAREST or label.is_needed)
        place = choices[costs.index(least)] if has_place else None
        found.append(place)
        read += [place.box, *place.link] if place else []
    return found


def _choices(label: Label) -> Iterator[Place]:
    lines = label.text.split("<br>")
    width, height = CHARACTER * max(map(len, lines)), LINE_HEIGHT * len(lines)
    for far in FAR:
        for angle in ANGLES:
            right, up = far * math.cos(angle), far * math.sin(angle)
            across = _anchor(right / far, "left", "center", "right")
            along = _anchor(up / far, "bottom", "middle", "top")
            if far > FAR[0] and across != "center":
                along = "middle"  # plotly draws no line to a corner
            left = label.at[0] + right - {"left": 0, "center": 0.5, "right": 1}[across] * width
            bottom = label.at[1] + up - {"bottom": 0, "middle": 0.5, "top": 1}[along] * height
            end = (label.at[0] + right, label.at[1] + up)
            link = tuple(_pieces(label.at, end, 3, 2)) if far > FAR[0] else ()
            box = Box(left, bottom, left + width, bottom + height)
            yield Place((right, up), (across, along), box, link)


def _anchor(direction: float, ahead: str, beside: str, behind: str) -> str:
    return beside if abs(direction) < 0.4 else ahead if direction > 0 else behind


def _cost(place: Place, read: Sequence[Box], lines: Sequence[Box]) -> float:
    """Return a cost; it is at least TOUCHING if the name or its link covers a point or name."""
    areas = [area for box in read if (area := place.box.overlap(box))]
    crossed = sum(any(map(piece.overlap, read)) for piece in place.link)
    cost = math.hypot(*place.shift) / FAR[-1]
    cost += CROSSING * sum(1 for box in lines if place.box.overlap(box))
    return cost + TOUCHING * (len(areas) + crossed) + sum(areas)


def _by_need(cell: Cell, view: View) -> list[tuple[Row, bool]]:
    """Return the cases, those whose names are needed first, then the most crowded."""
    ends = [row for row in cell.timed if row["method"] == EXACT or row in (cell.line or ())]
    needed = {row["key"]: row for row in (*ends, *cell.exact_best, *cell.best)}
    places = [view.pixels(row) for row in cell.timed]

    def crowd(row: Row) -> float:
        return sum(1 / (20 + math.dist(view.pixels(row), place)) for place in places)

    others = [row for row in cell.timed if row["key"] not in needed]
    others.sort(key=crowd, reverse=True)
    return [*((row, True) for row in needed.values()), *((row, False) for row in others)]


def _lines(cell: Cell, view: View) -> Iterator[Box]:
    """Yield the boxes that lines and error bars cover."""
    ends = [(view.pixels(cell.line[0]), view.pixels(cell.line[1]))] if cell.line else []
    for (x0, y0), (x1, y1) in pairwise(map(view.pixels, cell.exact_best)):
        ends += [((x0, y0), (x1, y0)), ((x1, y0), (x1, y1))]
    for row in cell.timed:
        (x, _), (low, high) = view.pixels(row), view.bar(row)
        ends.append(((x, low), (x, high)))
    for start, end in ends:
        yield from _pieces(start, end, PIECE, 4)


def _pieces(start: Point, end: Point, length: float, reach: float) -> Iterable[Box]:
    """Return boxes along a line, about `length` pixels apart, without its end."""
    (x0, y0), (x1, y1) = start, end
    count = max(1, round(math.dist(start, end) / length))
    for i in range(count):
        yield _around((x0 + i / count * (x1 - x0), y0 + i / count * (y1 - y0)), reach)


def _around(point: Point, reach: float) -> Box:
    x, y = point
    return Box(x - reach, y - reach, x + reach, y + reach)


def _area(place: Place) -> float:
    return (place.box.right - place.box.left) * (place.box.top - place.box.bottom)
