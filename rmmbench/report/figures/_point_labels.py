"""Where the names of points go, so that none covers a point or another name. Sizes in pixels."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

CHARACTER, LINE_HEIGHT = 5.9, 14.0
FAR = (9.0, 20.0, 34.0, 50.0, 68.0, 88.0)
NEAR = FAR[0]  # where a name needs no line to its point
MARK = 6.0
ANGLES = tuple(math.radians(angle) for angle in (0, 180, -90, 90, -45, -135, 45, 135, -20, 20))
# Costs: of a name on each piece of a line, and of one on what is read.
CROSSING, TOUCHING = 1.3, 20.0
DEAREST = 2.4  # what a name may cost that is not needed


@dataclass(frozen=True)
class Box:
    """A rectangle; y grows upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: "Box") -> float:
        """Return the area that both have."""
        across = min(self.right, other.right) - max(self.left, other.left)
        along = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(across, 0) * max(along, 0)

    def touches(self, other: "Box") -> bool:
        """Return whether the two have an area together."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def holds(self, other: "Box") -> bool:
        """Return whether the other lies within."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.bottom <= other.bottom
            and other.top <= self.top
        )


@dataclass(frozen=True)
class PointLabel:
    """A name by its point.

    Attributes:
        text: In lines joined by "<br>".
        at: The point.
        is_needed: Whether it must be written, even where there is no free place.
    """

    text: str
    at: tuple[float, float]
    is_needed: bool


@dataclass(frozen=True)
class Placed:
    """Where a name is: its box is fixed by its anchors at a shift from the point."""

    label: PointLabel
    shift: tuple[float, float]
    anchors: tuple[str, str]
    box: Box

    @property
    def is_far(self) -> bool:
        """Whether a line must lead from the name to its point."""
        return math.hypot(*self.shift) > NEAR + 0.5

    def annotation(self) -> dict[str, Any]:
        """Return plotly's settings of where the name is, and of the line to its point."""
        (right, up), (across, along) = self.shift, self.anchors
        where: dict[str, Any] = {"xanchor": across, "yanchor": along, "borderpad": 0}
        if not self.is_far:
            return where | {"showarrow": False, "xshift": right, "yshift": up}
        where |= {"showarrow": True, "arrowhead": 0, "arrowwidth": 0.8, "standoff": MARK}
        return where | {"ax": right, "ay": -up}


def place_labels(
    labels: Sequence[PointLabel], frame: Box, words: Iterable[Box], lines: Iterable[Box]
) -> list[Placed | None]:
    """Return where each label goes; None if there is no room for it and it is not needed.

    Args:
        labels: The first choose first.
        frame: What no label may leave.
        words: Places where something else is written.
        lines: Places that labels should leave free if they can.
    """
    marks = [*(_around(label.at, MARK) for label in labels), *words]
    lines, placed = list(lines), list[Placed]()
    places: list[Placed | None] = []
    for label in labels:
        choices = [choice for choice in _choices(label) if frame.holds(choice.box)]
        costs = [_cost(choice, marks, lines, placed) for choice in choices]
        least = min(costs, default=math.inf)
        has_place = choices and (least < DEAREST or label.is_needed)
        places.append(choices[costs.index(least)] if has_place else None)
        placed += filter(None, places[-1:])
    return places


def _choices(label: PointLabel) -> Iterable[Placed]:
    lines = label.text.split("<br>")
    width, height = CHARACTER * max(map(len, lines)), LINE_HEIGHT * len(lines)
    for far in FAR:
        for angle in ANGLES:
            right, up = far * math.cos(angle), far * math.sin(angle)
            across = _anchor(right / far, "left", "center", "right")
            along = _anchor(up / far, "bottom", "middle", "top")
            if far > NEAR and across != "center":
                along = "middle"  # a line to a corner is not drawn
            left = label.at[0] + right - {"left": 0, "center": 0.5, "right": 1}[across] * width
            bottom = label.at[1] + up - {"bottom": 0, "middle": 0.5, "top": 1}[along] * height
            box = Box(left, bottom, left + width, bottom + height)
            yield Placed(label, (right, up), (across, along), box)


def _anchor(direction: float, ahead: str, beside: str, behind: str) -> str:
    return beside if abs(direction) < 0.4 else ahead if direction > 0 else behind


def _cost(
    choice: Placed, marks: Sequence[Box], lines: Sequence[Box], placed: Sequence[Placed]
) -> float:
    """Return a number that is at least TOUCHING if the name or its line covers what is read."""
    read = [*marks, *(other.box for other in placed)]
    cost = math.hypot(*choice.shift) / FAR[-1]
    cost += CROSSING * sum(map(choice.box.touches, lines))
    cost += sum(TOUCHING + choice.box.overlap(box) for box in read if choice.box.touches(box))
    if choice.is_far:
        own = _around(choice.label.at, MARK)
        crossed = [box for box in read if box != own and _runs_through(choice, box)]
        links = [other for other in placed if other.is_far and _cross(_link(choice), _link(other))]
        cost += TOUCHING * (len(crossed) + len(links))
    under = [other for other in placed if other.is_far and _runs_through(other, choice.box)]
    return cost + TOUCHING * len(under)


def _link(placed: Placed) -> tuple[tuple[float, float], tuple[float, float]]:
    (x, y), (right, up) = placed.label.at, placed.shift
    return (x, y), (x + right, y + up)


def _runs_through(placed: Placed, box: Box) -> bool:
    (x, y), (right, up) = placed.label.at, placed.shift
    left, bottom = min(x, x + right), min(y, y + up)
    if not box.touches(Box(left - 2, bottom - 2, left + abs(right) + 2, bottom + abs(up) + 2)):
        return False
    steps = max(1, round(math.hypot(right, up) / 3))
    spots = ((x + i / steps * right, y + i / steps * up) for i in range(2, steps))
    return any(box.touches(_around(spot, 2)) for spot in spots)


def _cross(one: Any, other: Any) -> bool:
    def turn(a: Any, b: Any, c: Any) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    (a, b), (c, d) = one, other
    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


def _around(point: tuple[float, float], reach: float) -> Box:
    x, y = point
    return Box(x - reach, y - reach, x + reach, y + reach)
