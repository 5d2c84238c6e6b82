"""The words in a frontier's panel: names by its points, and what its line means."""

import math
from itertools import pairwise
from typing import Any

from rmmbench.report.figures._frontier_panel import View
from rmmbench.report.figures._method_bars import wrapped
from rmmbench.report.figures._point_labels import CHARACTER, Box, Placed, PointLabel, place_labels
from rmmbench.report.figures._style import INK, MUTED
from rmmbench.report.figures._ways import EXACT, Cell
from rmmbench.results.tidy import Row

SIZE, PIECE = 11.5, 12
HINT, HINT_UP = "above: worth having", 9


def point_labels(cell: Cell, view: View, axes: str) -> tuple[list[dict[str, Any]], list[Row]]:
    """Return annotations, and the cases whose names have no room among them, by rising peak.

    They are the names of points, and a word on the line from exact to checkpointing.

    Args:
        cell: Of the panel.
        view: Of the panel.
        axes: The suffix of its axes' names.
    """
    rows = _by_need(cell, view)
    labels = [
        PointLabel(wrapped(cell.names[row["key"]]), view.pixels(row), need) for row, need in rows
    ]
    hint, words = _hint(cell, view)
    frame, lines = Box(4, 4, view.width - 4, view.height - 4), _pieces(cell, view)
    places = place_labels(labels, frame, words, lines)
    where = {"xref": f"x{axes}", "yref": f"y{axes}", "borderpad": 0}
    written = [
        _written(place, view.place(row), is_needed=need)
        for (row, need), place in zip(rows, places, strict=True)
        if place is not None
    ]
    unnamed = [row for (row, _), place in zip(rows, places, strict=True) if place is None]
    unnamed.sort(key=lambda row: row["peak_allocated_bytes"])
    return [where | each for each in (*hint, *written)], unnamed


def _by_need(cell: Cell, view: View) -> list[tuple[Row, bool]]:
    """Return the cases whose names must be there, then the others, the most crowded first."""
    ends = [row for row in cell.timed if row["method"] == EXACT or row in (cell.line or ())]
    needed = {row["key"]: row for row in (*ends, *cell.exact_best, *cell.best)}
    places = [view.pixels(row) for row in cell.timed]

    def crowd(row: Row) -> float:
        return sum(1 / (20 + math.dist(view.pixels(row), place)) for place in places)

    others = [row for row in cell.timed if row["key"] not in needed]
    others.sort(key=crowd, reverse=True)
    return [*((row, True) for row in needed.values()), *((row, False) for row in others)]


def _written(place: Placed, at: tuple[float, float], *, is_needed: bool) -> dict[str, Any]:
    look = {"text": place.label.text, "align": place.anchors[0], "arrowcolor": MUTED}
    font = {"size": SIZE, "color": INK if is_needed else MUTED}
    return {"x": at[0], "y": at[1], "font": font} | look | place.annotation()


def _hint(cell: Cell, view: View) -> tuple[list[dict[str, Any]], list[Box]]:
    """Return the word on the line, where points are fewest, and the room that it takes."""
    if cell.line is None:
        return [], []
    (x0, y0), (x1, y1) = map(view.pixels, cell.line)
    half = CHARACTER * len(HINT) / 2 / math.hypot(x1 - x0, y1 - y0)
    if half > 0.45:
        return [], []

    def spots(middle: float) -> list[tuple[float, float]]:
        parts = [middle + step / 4 * half for step in range(-4, 5)]
        return [(x0 + part * (x1 - x0), y0 + part * (y1 - y0) + HINT_UP) for part in parts]

    def room(middle: float) -> float:
        marks = map(view.pixels, cell.timed)
        return min(math.dist(spot, mark) for mark in marks for spot in spots(middle))

    middle = max((half + (1 - 2 * half) * step / 40 for step in range(41)), key=room)
    (a0, b0), (a1, b1) = map(view.place, cell.line)
    note = {"x": a0 + middle * (a1 - a0), "y": b0 + middle * (b1 - b0), "text": HINT}
    note |= {"textangle": -math.degrees(math.atan2(y1 - y0, x1 - x0)), "showarrow": False}
    note |= {"yshift": HINT_UP, "font": {"size": SIZE, "color": MUTED}}
    return [note], [Box(x - 9, y - 9, x + 9, y + 9) for x, y in spots(middle)]


def _pieces(cell: Cell, view: View) -> list[Box]:
    """Return what the lines take up, in pieces of about PIECE pixels."""
    lines = [tuple(map(view.pixels, cell.line))] if cell.line else []
    for (x0, y0), (x1, y1) in pairwise(map(view.pixels, cell.exact_best)):
        lines += [((x0, y0), (x1, y0)), ((x1, y0), (x1, y1))]
    for row in cell.timed:
        (x, _), (low, high) = view.pixels(row), view.bar(row)
        lines.append(((x, low), (x, high)))
    pieces = []
    for (x0, y0), (x1, y1) in lines:
        count = max(1, round(math.hypot(x1 - x0, y1 - y0) / PIECE))
        spots = [(x0 + i / count * (x1 - x0), y0 + i / count * (y1 - y0)) for i in range(count)]
        pieces += [Box(x - 4, y - 4, x + 4, y + 4) for x, y in spots]
    return pieces
