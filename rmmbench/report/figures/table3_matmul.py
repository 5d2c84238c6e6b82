"""The right half of the paper's Table 3: step time relative to No RMM, by sketch and ρ."""

from plotly.graph_objects import Figure as Drawing

from rmmbench.report import papers_rows
from rmmbench.report.figures._bars import COLUMNS, Bars, bar_panels
from rmmbench.report.figures._notes import case_sheet, kind_names
from rmmbench.report.figures._panel import Level
from rmmbench.report.figures._style import rate_colors
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import PAPERS_EXACT, rate_name
from rmmbench.results.tidy import Row, kept


class Table3Matmul(Figure):
    """Draws a panel per cell, a group of bars per sketch, and in it a bar per rate."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one bar."""
        if any(map(_is_timed, data.step_rows)):
            return None
        return "step times with a sketch and without RMM in one cell"

    def draw(self, data: FigureData) -> Drawing:
        """Return the bars, with the published relative times as hollow marks."""
        rows = [row for row in data.step_rows if row["time_device"] and row["method"] != "exact"]
        drawn = [row for row in rows if _is_timed(row)]
        names = {row["key"]: rate_name(row) for row in drawn}
        shades = rate_colors(drawn)
        ordered = sorted(drawn, key=kept, reverse=True)
        bars = Bars(
            value=lambda row: 1 / row["relative_throughput"],
            published=lambda row: papers_rows.relative_time(data.profile, row),
            groups=kind_names(drawn),
            hues=names,
            colors={names[row["key"]]: shades[kept(row)] for row in ordered},
            text=lambda ratio: f"{ratio:.2f}",
            title=f"step time relative to {PAPERS_EXACT}",
            levels=(Level(1),),
            has_interval=True,
        )
        return case_sheet(
            bar_panels(drawn, bars),
            data,
            rows,
            drawn,
            subjects=["time"],
            columns=COLUMNS,
            title="Step time by sketch",
            legend="compression rate",
        )


def _is_timed(row: Row) -> bool:
    is_timed = row["relative_throughput"] is not None and row["time_device"] is not None
    return is_timed and row["method"] != "exact"
