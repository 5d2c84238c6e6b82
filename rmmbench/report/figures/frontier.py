"""All ways of saving memory in one figure: what each saves and costs, and what then fits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._error_panel import ErrorView, error_panel
from rmmbench.report.figures._frontier_labels import point_labels
from rmmbench.report.figures._frontier_panel import (
    HEIGHT,
    Errors,
    View,
    error_colors,
    frontier_panel,
)
from rmmbench.report.figures._largest_batch_panel import (
    Largest,
    largest_batch_panel,
    searches,
    unanswered,
)
from rmmbench.report.figures._method_bars import margin
from rmmbench.report.figures._notes import footnote, heading, join, reserved_words, shared_words
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._peak_bars import peak_bars
from rmmbench.report.figures._sheet import LEFT, sheet
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.ways import DEVICES, Cell, left_out, read_cells, way_names
from rmmbench.results.record import Record
from rmmbench.results.tidy import Row

HOW_TO_READ = (
    "Each point is one way of saving memory: further left needs less, further up is faster. "
    "Its colour is how far weight gradients are from the exact ones, as a fraction of them."
)
ERRORS = (
    "In the panel of noisy gradients further down is less noise; it is the third axis of the same "
    "frontier, so that a ring is of memory, speed and error together."
)
LINE = (
    "Above the dashed line a way is faster than a mix of exact and checkpointing that needs as "
    "much memory."
)
MOST_CELLS = 3
LOW = 350  # the height in pixels of one of several panels


class Frontier(Figure):
    """Draws throughput against peak memory, one panel per cell, and the largest batches.

    A cell in which nothing was timed has bars of its peaks. At most `MOST_CELLS` cells are drawn,
    those with the most peaks.
    """

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one panel."""
        if _compared(data) or searches(data.step_rows):
            return None
        return (
            "peak memory of exact and of two or more ways to save it in one cell, "
            "or the largest batch that fits"
        )

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels below one another, with names beside the points."""
        cells, batches = _compared(data)[:MOST_CELLS], searches(data.step_rows)
        drawn = [row for cell in cells for row in _drawn(cell)]
        drawn += [way.told for ways in batches for way in ways]
        panels, words, unnamed = list[Panel](), list[dict[str, Any]](), dict[str, None]()
        colors = error_colors(row for cell in cells for row in cell.timed)
        for cell in cells:
            for panel, shown, view in _panels(
                cell, len(cells), _heading(cell, cells, drawn), colors, data
            ):
                if view is not None:
                    notes, rows = point_labels(shown, view, str(len(panels) + 1) if panels else "")
                    words += notes
                    unnamed |= dict.fromkeys(cell.names[row["key"]] for row in rows)
                panels.append(panel)
        panels += [largest_batch_panel(ways, drawn) for ways in batches]
        drawing = sheet(
            panels,
            columns=1,
            title=_title(cells, batches),
            subtitle=shared_words(drawn),
            footnote=_footnote(data, cells, drawn, list(unnamed)),
            left=max([LEFT, *(margin(panel.y.get("ticktext", ())) for panel in panels)]),
        )
        # The footnote must stay the last annotation.
        drawing.layout.annotations = (*words, *drawing.layout.annotations)
        return drawing


def _panels(
    cell: Cell, count: int, heading: str, colors: Mapping[Errors, str], data: FigureData
) -> Iterator[tuple[Panel, Cell, View | None]]:
    """Yield a cell's panels, each with the cases whose names it needs and its view, if any."""
    if not cell.timed:
        yield peak_bars(cell, heading, data), cell, None
        return
    height = HEIGHT if count == 1 else LOW
    view = replace(View.of(cell.timed), height=height)
    yield frontier_panel(cell, view, heading, colors), cell, view
    noisy = cell.noisy
    if noisy is not None:
        seen = replace(ErrorView.of(noisy.timed), unit=view.unit, x=view.x, height=height)
        subject = join(heading, "noisy gradients")
        yield error_panel(noisy, cell.best, seen, subject), noisy, seen


def _compared(data: FigureData) -> list[Cell]:
    return [cell for cell in read_cells(data.step_rows) if cell.compares]


def _drawn(cell: Cell) -> list[Row]:
    return cell.timed or cell.sized


def _heading(cell: Cell, cells: Sequence[Cell], drawn: Sequence[Row]) -> str:
    """Return what tells a cell from the others, and how its memory was found if that differs."""
    firsts = [each.sized[0] for each in cells]
    place = heading(cell.sized, drawn)
    has_devices = len({row["memory_device"] for row in firsts}) > 1
    return join(place, DEVICES[cell.sized[0]["memory_device"]] if has_devices else "")


def _title(cells: Sequence[Cell], batches: Sequence[Sequence[Largest]]) -> str:
    if any(cell.timed for cell in cells):
        return "What each way of saving memory costs"
    return "Peak memory of each way of saving it" if cells else "The largest batch that fits"


def _footnote(
    data: FigureData, cells: Sequence[Cell], drawn: Sequence[Row], unnamed: Sequence[str]
) -> str:
    """Return how to read the figure, the usual footnote, and what names leave out."""
    rows = [row for cell in cells for row in cell.rows]
    mine = {row["key"] for row in rows}
    free = [row for row in data.step_rows if row["memory_limit_bytes"] is None]
    rows += [row for row in free if row["outcome"] != "ok" and row["key"] not in mine]
    rows += [row for row in drawn if row["key"] not in mine] + unanswered(data.step_rows)
    subjects = ["memory"] + ["time"] * any(row["samples_per_second"] for row in drawn)
    said = [HOW_TO_READ] if any(cell.timed for cell in cells) else []
    said += [ERRORS] if any(cell.noisy for cell in cells) else []
    said += [LINE] if any(cell.line for cell in cells) else []
    said.append(footnote(data, rows, drawn, subjects=subjects, missing=_absent(data, rows, drawn)))
    said.append(reserved_words(drawn))
    more = len(_compared(data)) - len(cells)
    said.append(f"Left out for lack of space: {more} more panels." if more > 0 else "")
    said.append(
        f"Points without a name, from the lowest peak up: {', '.join(unnamed)}." if unnamed else ""
    )
    said.append(left_out(drawn))
    return " ".join(filter(None, said))


def _absent(data: FigureData, rows: Sequence[Row], drawn: Sequence[Row]) -> str:
    """Return the names of the cases that are not drawn, with the reasons."""
    marked, names = {row["key"] for row in drawn}, way_names(rows)
    records = {record.key: record for record in data.records}
    by_reason: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["key"] not in marked:
            reason = _reason(records[row["key"]])
            by_reason.setdefault(reason, {})[names[row["key"]]] = None
    said = [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
    return f"Not drawn: {'; '.join(said)}." if said else ""


def _reason(record: Record) -> str:
    absent = [record.missing.get(name) for name in ("memory", "timing")]
    return record.reason or next(filter(None, absent), "no reason given")
