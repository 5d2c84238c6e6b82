"""The paper's Figure 2: peak memory against batch size, and relative throughput against ρ."""

from collections.abc import Sequence
from dataclasses import replace

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._memory_panel import has_mark, memory_panel, memory_rows
from rmmbench.report.figures._notes import case_sheet, heading, join, shared_words, sketch_words
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._throughput_panel import is_timed, throughput_panel, throughput_rows
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.results.tidy import Row


class Figure2(Figure):
    """Draws both panels, or the one that has numbers; of several runs a row of panels each."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one of the panels."""
        if memory_rows(data) or throughput_rows(data):
            return None
        return "peak memory at two or more batch sizes, or relative throughput at two or more ρ"

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels side by side, each with its legend to the right."""
        parts = [part for part in data.runs if self.lacks(part) is None] or [data]
        memory = [row for part in parts for row in memory_rows(part)]
        throughput = [row for part in parts for row in throughput_rows(part)]
        rows = _once([*memory, *throughput])
        panels = [panel for part in parts for panel in _panels(part, rows, len(parts) > 1)]
        names = ["peak memory"] * bool(memory) + ["relative throughput"] * bool(throughput)
        return case_sheet(
            panels,
            data,
            rows,
            _once([*filter(has_mark, memory), *filter(is_timed, throughput)]),
            subjects=["memory"] * bool(memory) + ["time"] * bool(throughput),
            subtitle=shared_words(rows),
            columns=2,
            title=" and ".join(names).capitalize(),
        )


def _panels(data: FigureData, of: Sequence[Row], is_one_of_many: bool) -> list[Panel]:
    """Return a run's panels, of the rows `of`; one of many says how its rows are sketched."""
    memory, throughput = memory_rows(data), throughput_rows(data)
    panels = []
    if memory:
        panels.append((memory, memory_panel(data, memory, heading(memory, of))))
    if throughput:
        panels.append((throughput, throughput_panel(throughput, heading(throughput, of), of)))
    if not is_one_of_many:
        return [panel for _, panel in panels]
    return [replace(p, heading=join(p.heading, sketch_words(rows))) for rows, p in panels]


def _once(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, each case once."""
    return list({row["key"]: row for row in rows}.values())
