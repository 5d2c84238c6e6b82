"""The left half of the paper's Table 3: the share of peak memory saved, by task and ρ."""

from plotly.graph_objects import Figure as Drawing

from rmmbench.report import papers_rows
from rmmbench.report.figures._bars import COLUMNS, Bars, bar_panels
from rmmbench.report.figures._notes import case_sheet, kind_names
from rmmbench.report.figures._style import name_colors
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import PAPERS_EXACT, kind, rate
from rmmbench.results.tidy import Row, kept
from rmmbench.units import format_bytes


class Table3Memory(Figure):
    """Draws a panel per cell, a group of bars per rate, and in it a bar per sketch."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one bar."""
        if any(map(_has_saving, data.step_rows)):
            return None
        return "peak memory with a sketch and without RMM in one cell"

    def draw(self, data: FigureData) -> Drawing:
        """Return the bars, with the published savings as hollow marks."""
        rows = [row for row in data.step_rows if row["memory_device"] and row["method"] != "exact"]
        rows.sort(key=kept, reverse=True)
        drawn = [row for row in rows if _has_saving(row)]
        hues = kind_names(drawn)
        exact = {row["cell"]: row for row in reversed(data.step_rows) if row["method"] == "exact"}
        bars = Bars(
            value=lambda row: 100 * row["saving"],
            published=lambda row: _percent(papers_rows.saving(data.profile, row)),
            groups={row["key"]: rate(row) or kind(row) for row in drawn},
            hues=hues,
            colors=name_colors(hues.values()),
            text=lambda percent: f"{percent:.1f}",
            title="peak memory saved, %",
            note=lambda row: _without(data, exact[row["cell"]]),
        )
        return case_sheet(
            bar_panels(drawn, bars),
            data,
            rows,
            drawn,
            subjects=["memory"],
            columns=COLUMNS,
            title="Peak memory saved",
            legend="sketch",
        )


def _has_saving(row: Row) -> bool:
    return row["saving"] is not None and row["method"] != "exact"


def _without(data: FigureData, exact: Row) -> str:
    """Return the peak of the unchanged model, measured and published."""
    paper = papers_rows.find(data.profile, exact, "peak_gib")
    beside = f" (published {paper:g})" if paper is not None else ""
    return f"{PAPERS_EXACT}: {format_bytes(exact['peak_allocated_bytes'])}{beside}"


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction
