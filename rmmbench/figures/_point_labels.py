"""Where the names of points go, so that none covers a point or another name. Sizes in pixels."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

CHARACTER, LINE_HEIGHT = 6.1, 14.0
FAR = (9.0, 20.0, 34.0, 50.0, 68.0, 88.0)
NEAR = FAR[0]  # where a name needs no line to its point
MARK = 6.0
ANGLES = tuple(math.radians(angle) for angle in (0, 180, -90, 90, -45, -135, 45, 135, -20, 20))
FREE, TOUCHING = 2.0, 8.0  # costs: of what is drawn for the eye to follow, and of what is read


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
    labels: Sequence[PointLabel], frame: Box, lines: Iterable[Box] = ()
) -> list[Placed]:
    """Return the labels for which there is room, and all that are needed, in their order.

    Args:
        labels: The first choose first.
        frame: What no label may leave.
        lines: Places that labels should leave free, points apart.
    """
    points = [_around(label.at, MARK) for label in labels]
    lines, placed = list(lines), list[Placed]()
    for label in labels:
        found = []
        for choice in _choices(label):
            if frame.holds(choice.box):
                found.append((_cost(choice, points, lines, placed), len(found), choice))
        if not found:
            continue
        cost, _, choice = min(found)
        if cost < TOUCHING or label.is_needed:
            placed.append(choice)
    return placed


def _choices(label: PointLabel) -> Iterable[Placed]:
    lines = label.text.split("<br>")
    width, height = CHARACTER * max(map(len, lines)), LINE_HEIGHT * len(lines)
    for far in FAR:
        for angle in ANGLES:
            right, up = far * math.cos(angle), far * math.sin(angle)
            across = _anchor(right / far, "left", "center", "right")
            along = _anchor(up / far, "bottom", "middle", "top")
            left = label.at[0] + right - {"left": 0, "center": 0.5, "right": 1}[across] * width
            bottom = label.at[1] + up - {"bottom": 0, "middle": 0.5, "top": 1}[along] * height
            box = Box(left, bottom, left + width, bottom + height)
            yield Placed(label, (right, up), (across, along), box)


def _anchor(direction: float, ahead: str, beside: str, behind: str) -> str:
    return beside if abs(direction) < 0.4 else ahead if direction > 0 else behind


def _cost(
    choice: Placed, points: Sequence[Box], lines: Sequence[Box], placed: Sequence[Placed]
) -> float:
    """Return a number that is at least TOUCHING if the name or its line covers what is read."""
    read = [*points, *(other.box for other in placed)]
    cost = FAR.index(min(FAR, key=lambda far: abs(far - math.hypot(*choice.shift)))) / len(FAR)
    cost += sum(FREE / 20 for line in lines if choice.box.overlap(line))
    cost += sum(TOUCHING + choice.box.overlap(box) for box in read if choice.box.overlap(box))
    if choice.is_far:
        (x, y), (right, up) = choice.label.at, choice.shift
        steps = [_around((x + t * right / 8, y + t * up / 8), 1) for t in range(3, 9)]
        own = _around(choice.label.at, MARK)
        others = [box for box in read if box != own]
        cost += sum(TOUCHING for box in others if any(map(box.overlap, steps)))
        links = [_link(other) for other in placed if other.is_far]
        cost += sum(TOUCHING for link in links if _cross(_link(choice), link))
    else:
        cost -= 0.2
    crossed = [other for other in placed if other.is_far and _runs_through(other, choice.box)]
    return cost + TOUCHING * len(crossed)


def _link(placed: Placed) -> tuple[tuple[float, float], tuple[float, float]]:
    (x, y), (right, up) = placed.label.at, placed.shift
    return (x, y), (x + right, y + up)


def _runs_through(placed: Placed, box: Box) -> bool:
    (x, y), (right, up) = placed.label.at, placed.shift
    return any(box.overlap(_around((x + t * right / 8, y + t * up / 8), 1)) for t in range(9))


def _cross(one: Any, other: Any) -> bool:
    def turn(a: Any, b: Any, c: Any) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    (a, b), (c, d) = one, other
    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


def _around(point: tuple[float, float], reach: float) -> Box:
    x, y = point
    return Box(x - reach, y - reach, x + reach, y + reach)
