"""The paper's Figure 5: the correlation α of input and output gradient, and the variances."""

from typing import Any

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._noise_series import (
    Series,
    all_series,
    hover_of,
    noise_sheet,
    panels_of,
)
from rmmbench.report.figures._style import INK, line
from rmmbench.report.figures.figure import Figure, FigureData

ALPHA = "α"


class Figure5(Figure):
    """Draws two panels per watched layer."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one mark."""
        if any(noise.alpha for series in all_series(data) for noise in series.noise):
            return None
        return "gradient noise of a layer that was watched while a model trained"

    def draw(self, data: FigureData) -> Drawing:
        """Return α above, the variances below."""
        series = all_series(data)
        alphas = panels_of(series, "α = ‖XᵀY‖² ÷ ‖X‖²‖Y‖²", _alpha_lines)
        note = (
            "α is 1 where all rows push the weight gradient the same way, and 0 where they cancel."
            " The paper's eq. 11 leaves out terms; the line of gaussian is the full (a + g)/k."
        )
        return noise_sheet(data, alphas, series, "Correlation α and gradient noise", note)


def _alpha_lines(series: Series) -> list[Any]:
    points = [
        (noise.step, noise.alpha, hover_of(series, noise, f"α: {noise.alpha:.3g}"))
        for noise in series.noise
        if noise.alpha > 0
    ]
    return [line(points, ALPHA, INK)] if points else []
