"""The paper's Figure 8: memory during training by task and ρ, and by category."""

from collections.abc import Iterator, Sequence

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._memory_panel import device_limit
from rmmbench.report.figures._notes import case_sheet, heading
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._timeline_panels import Look, category_panel, epoch_panel, step_panel
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.results.tidy import Row, group, kept
from rmmbench.results.timeline import Timeline

FEW = 3  # cells; more than these share rows in pairs
FAR = 1.5  # times the highest mark; a limit beyond it would flatten the lines


class Figure8(Figure):
    """Draws four panels per cell.

    They are a step with a line per setting, the same step by category without RMM and with the
    smallest sketch, and the peaks of an epoch's steps.
    """

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one line."""
        if _timelines(data):
            return None
        return "memory over time, of a grid whose measure has 'timeline'"

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels of all cells, each cell to its own scale."""
        timelines = _timelines(data)
        asked = {record.key for record in data.records if record.case.timeline is not None}
        rows = [row for row in data.rows if row["key"] in asked]
        drawn = [row for row in rows if row["key"] in timelines]
        cells = group(drawn, ["cell"])
        look = Look(drawn, timelines, is_small=len(cells) > FEW)
        panels = [panel for cell in cells for panel in _panels(data, cell, drawn, look)]
        columns = len(panels) // len(cells) * (2 if len(cells) > FEW else 1)
        return case_sheet(
            panels,
            data,
            rows,
            drawn,
            subjects=["memory"],
            columns=columns,
            title="Memory through a training step and an epoch",
            legend="",
        )


def _panels(
    data: FigureData, cell: Sequence[Row], of: Sequence[Row], look: Look
) -> Iterator[Panel]:
    """Yield the panels of a cell, all to one scale."""
    cell = sorted(cell, key=lambda row: (row["method"] != "exact", [-size for size in kept(row)]))
    top = look.scaled(max(map(look.highest, cell)))
    limit = device_limit(data, cell, look.unit.size)
    is_far = limit is not None and limit.y > FAR * top
    scale = 1.12 * max(top, limit.y if limit and not is_far else 0)
    yield step_panel(
        cell,
        look,
        scale,
        levels=[limit] if limit and not is_far else [],
        heading=heading(cell, of),
        subheading=f"↑ {limit.text}" if limit and is_far else "",
    )
    yield category_panel(cell[0], look, scale)
    yield category_panel(cell[-1] if cell[1:] else None, look, scale)
    yield epoch_panel(cell, look, scale)


def _timelines(data: FigureData) -> dict[str, Timeline]:
    return {record.key: record.timeline for record in data.records if record.timeline is not None}
