"""Relative throughput against ρ, one line per cell and sketch."""

from collections.abc import Sequence
from typing import Any

from rmmbench.report.figures._notes import hover, join, kind_names, place_names
from rmmbench.report.figures._panel import Level, Panel
from rmmbench.report.figures._style import COLORS, around_one, axis, error_bars, line, pick
from rmmbench.report.figures.figure import FigureData
from rmmbench.report.labels import PAPERS_EXACT
from rmmbench.results.tidy import Row, group, kind_columns


def throughput_rows(data: FigureData) -> list[Row]:
    """Return the timed cases with a ρ; none if no line has a number at two ρ."""
    rows = [row for row in data.step_rows if row["time_device"] and row["rho"] is not None]
    lines = group(filter(is_timed, rows), ("cell", *kind_columns()))
    return rows if any(len({row["rho"] for row in alike}) > 1 for alike in lines) else []


def is_timed(row: Row) -> bool:
    """Return whether the panel shows this case."""
    return row["relative_throughput"] is not None


def throughput_panel(rows: Sequence[Row], heading: str, beside: Sequence[Row]) -> Panel:
    """Return the panel of `throughput_rows`, on an axis that has room for those beside it too."""
    timed = [row for row in rows if is_timed(row)]
    rates = sorted({100 * row["rho"] for row in timed})
    reach = around_one(row for row in beside if is_timed(row))
    return Panel(
        traces=_lines(timed),
        x=axis("compression rate ρ, %", **({"tickvals": rates} if len(rates) < 12 else {})),
        y=axis(f"throughput relative to {PAPERS_EXACT}", range=reach),
        levels=[Level(1, PAPERS_EXACT)],
        heading=heading,
        legend="task" if len({row["task"] for row in timed}) > 1 else "",
    )


def _lines(timed: Sequence[Row]) -> list[Any]:
    """Return a line per cell and sketch.

    Colours stand for cells and dashes for sketches; if there is one cell, colours are for sketches.
    """
    places, kinds = place_names(timed), kind_names(timed)
    cells = [alike[0]["cell"] for alike in group(timed, ["cell"])]
    sketches = list(dict.fromkeys(kinds.values()))
    traces = []
    for alike in group(timed, ("cell", *kind_columns())):
        first, points = alike[0], sorted(alike, key=lambda row: row["rho"])
        place, kind = places[first["key"]], kinds[first["key"]]
        index = sketches.index(kind)
        color = pick(COLORS, cells.index(first["cell"]) if len(cells) > 1 else index)
        name = join(place, kind if len(sketches) > 1 or not place else "")
        marks = [(100 * row["rho"], row["relative_throughput"], hover(row)) for row in points]
        trace = line(marks, name, color, index)
        traces.append(trace.update(error_y=error_bars(points, color)))
    return traces
