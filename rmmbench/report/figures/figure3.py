"""The paper's Figure 3: the left side of eq. 12 while a model trains, and the variances."""

from typing import Any

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._noise_series import (
    Series,
    all_series,
    hover_of,
    noise_sheet,
    panels_of,
)
from rmmbench.report.figures._style import COLORS, INK, MUTED, line, marks
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.results.gradient_noise import LayerNoise

RATIO, BOUND, BROKEN = "left side of eq. 12", "its bound (α + 1)/α", "eq. 12 did not hold"


class Figure3(Figure):
    """Draws two panels per watched layer, with a cross at steps at which eq. 12 did not hold."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one mark."""
        if any(noise.ratio for series in all_series(data) for noise in series.noise):
            return None
        return "gradient noise of a layer that was watched while a model trained"

    def draw(self, data: FigureData) -> Drawing:
        """Return the ratio with its bound above, the variances below."""
        series = all_series(data)
        ratios = panels_of(series, "k/(B − 1) · D²_RMM ÷ D²_SGD", _ratio_lines)
        title = "A sketch's noise against SGD's, and the paper's bound"
        return noise_sheet(data, ratios, series, title, _said(series))


def _ratio_lines(series: Series) -> list[Any]:
    known = [noise for noise in series.noise if noise.ratio]
    kinds: dict[str, list[tuple[LayerNoise, Any]]] = {
        RATIO: [(noise, noise.ratio) for noise in known],
        BOUND: [(noise, noise.bound) for noise in series.noise if noise.bound],
        BROKEN: [(noise, noise.ratio) for noise in known if not noise.holds],
    }
    points = {
        kind: [(noise.step, y, hover_of(series, noise, f"{kind}: {y:.3g}")) for noise, y in values]
        for kind, values in kinds.items()
        if values
    }
    traces = []
    if RATIO in points:
        traces.append(line(points[RATIO], RATIO, INK))
    if BOUND in points:
        traces.append(line(points[BOUND], BOUND, MUTED, 1).update(mode="lines"))
    if BROKEN in points:
        cross = marks(points[BROKEN], BROKEN, COLORS[1], "x-thin-open")
        traces.append(cross.update(showlegend=None, marker_line_color=COLORS[1]))
    return traces


def _said(series: list[Series]) -> str:
    """Return how often the bound held, and what the lines are."""
    noise = [one for each in series for one in each.noise]
    held, without = sum(one.holds for one in noise), sum(one.ratio is None for one in noise)
    said = f"Eq. 12 held at {held} of {len(noise)} points"
    said += f"; {without} of them have no ratio, as D²_SGD is 0 there." if without else "."
    return (
        f"{said} Both sides are computed as the paper does, by eq. 9 and eq. 11. Its eq. 11,"
        " (a − g)/k, leaves out terms; the line of gaussian is the full (a + g)/k, which is near it"
        " where α is small. SGD's noise by rows (eq. 9) takes the rows of one sample for"
        " independent, which they are not; the line by samples does not."
    )
