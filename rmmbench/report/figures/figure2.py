"""The paper's Figure 2: peak memory against batch size, and relative throughput against ρ."""

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._memory_panel import has_mark, memory_panel, memory_rows
from rmmbench.report.figures._notes import case_sheet, heading, shared_words
from rmmbench.report.figures._throughput_panel import is_timed, throughput_panel, throughput_rows
from rmmbench.report.figures.figure import Figure, FigureData


class Figure2(Figure):
    """Draws both panels, or the one that has numbers."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one of the panels."""
        if memory_rows(data) or throughput_rows(data):
            return None
        return "peak memory at two or more batch sizes, or relative throughput at two or more ρ"

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels side by side, each with its legend to the right."""
        memory, throughput = memory_rows(data), throughput_rows(data)
        rows = list({row["key"]: row for row in (*memory, *throughput)}.values())
        panels = {}
        if memory:
            panels["peak memory"] = memory_panel(data, memory, heading(memory, rows))
        if throughput:
            panel = throughput_panel(throughput, heading(throughput, rows))
            panels["relative throughput"] = panel
        drawn = [*filter(has_mark, memory), *filter(is_timed, throughput)]
        return case_sheet(
            list(panels.values()),
            data,
            rows,
            drawn,
            subjects=["memory"] * bool(memory) + ["time"] * bool(throughput),
            subtitle=shared_words(rows),
            columns=2,
            title=" and ".join(panels).capitalize(),
        )
