"""The noise of every sketch by ρ at one point of training: its closed form, and drawn samples."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._noise_series import Series, all_series, watching_rows
from rmmbench.report.figures._notes import case_sheet
from rmmbench.report.figures._panel import Level, Panel
from rmmbench.report.figures._style import (
    COLORS,
    MUTED,
    axis,
    bars_of,
    grouped,
    line,
    log_scale,
    pick,
)
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import place
from rmmbench.results.gradient_noise import DrawnNoise, LayerNoise

ALIKE = 0.03  # of a closed form; sketches that differ by less at every ρ share a line


class _Drawn(NamedTuple):
    """The drawn noise of one layer of one case, and the layer's noise at that step if known."""

    series: Series
    noise: tuple[DrawnNoise, ...]
    watched: LayerNoise | None


class Noise(Figure):
    """Draws two panels per layer: the error of drawn sketches, and noise inflation."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one mark."""
        if _all_drawn(data):
            return None
        return "sketches drawn at one point of training"

    def draw(self, data: FigureData) -> Drawing:
        """Return one row of panels per layer."""
        drawn = _all_drawn(data)
        families = _families([noise for one in drawn for noise in one.noise])
        panels = [panel for one in drawn for panel in _panels(one, families)]
        columns = 2 if any(one.watched for one in drawn) else 1
        draws = sorted({noise.draws for one in drawn for noise in one.noise})
        counts = f"{draws[0]}" if len(draws) == 1 else f"{draws[0]} to {draws[-1]}"
        return case_sheet(
            panels,
            data,
            watching_rows(data),
            [one.series.row for one in drawn],
            subjects=["training"],
            note=(
                "Lines are the variance that a formula predicts, marks the mean squared error (± "
                f"its standard error) of {counts} random sketches, all of one step's layer input X "
                "and output gradient Y. An inflation of 2 (dashed) means that the gradient is as "
                "noisy as that of a batch of half as many samples: the sketch adds as much noise "
                "as the choice of samples has."
            ),
            columns=columns,
            title="Gradient noise of every sketch",
            legend="sketch, its closed form",
        )


def _all_drawn(data: FigureData) -> list[_Drawn]:
    found = []
    for series in all_series(data):
        training = series.record.training
        noise = training.drawn_noise if training is not None else ()
        noise = tuple(one for one in noise if one.layer == series.layer and _has_place(one))
        if noise:
            at_step = [one for one in series.noise if one.step == noise[0].step]
            usable = [one for one in at_step if one.sgd_by_samples > 0]
            found.append(_Drawn(series, noise, usable[0] if usable else None))
    return found


def _has_place(noise: DrawnNoise) -> bool:
    """Return whether all its numbers fit on a logarithmic axis."""
    return noise.exact > 0 and noise.predicted > 0 and noise.measured > 0


def _families(noise: Sequence[DrawnNoise]) -> list[list[str]]:
    """Group the sketches whose closed forms are alike wherever both were drawn."""
    forms: dict[str, dict[Any, float]] = {}
    for one in noise:
        at = one.layer, one.step, one.exact, one.rho
        forms.setdefault(one.sketch, {})[at] = one.predicted

    def are_alike(one: str, other: str) -> bool:
        mine, theirs = forms[one], forms[other]
        both = mine.keys() & theirs.keys()
        return bool(both) and all(abs(math.log(mine[at] / theirs[at])) < ALIKE for at in both)

    return grouped(forms, are_alike)


def _panels(drawn: _Drawn, families: Sequence[Sequence[str]]) -> list[Panel]:
    """Return the panel of the error and, if known, that of noise inflation."""
    about: dict[str, Any] = {"heading": drawn.series.heading, "width": 390, "height": 380}
    step = f"{drawn.series.subheading} at step {drawn.noise[0].step}"
    error: list[Any] = []
    inflation: list[Any] = []
    marks = []
    for index, family in enumerate(families):
        color, name = pick(COLORS, index), ", ".join(family)
        mine = [one for one in drawn.noise if one.sketch in family]
        first = sorted((one for one in mine if one.sketch == mine[0].sketch), key=lambda n: n.rho)
        if not first:
            continue
        marks += [(one, color) for one in mine]
        texts = [_hover(drawn, one) for one in first]
        points = [(n.rho, n.predicted / n.exact, t) for n, t in zip(first, texts, strict=True)]
        error.append(line(points, name, color, index + index // len(COLORS)).update(mode="lines"))
        if drawn.watched is not None:
            sgd = drawn.watched.sgd_by_samples
            points = [(n.rho, 1 + n.predicted / sgd, t) for n, t in zip(first, texts, strict=True)]
            inflation.append(line(points, name, color, index + index // len(COLORS)))
    error.append(_marks(drawn, marks))
    title = "squared error of the weight gradient ÷ ‖XᵀY‖²"
    y = axis(title, **log_scale([y for trace in error for y in trace.y]))
    panels = [Panel(error, _rho_axis(drawn), y, subheading=step, **about)]
    if drawn.watched is not None:
        scale = log_scale([1.0, *(y for trace in inflation for y in trace.y)])
        y = axis("noise inflation, 1 + D²_RMM ÷ D²_SGD", **scale)
        # Words on levels cannot be placed on a logarithmic axis; the footnote explains this one.
        about |= {"levels": [Level(2)], "subheading": _batch(drawn)}
        panels.append(Panel(inflation, _rho_axis(drawn), y, **about))
    return panels


def _marks(drawn: _Drawn, marks: Sequence[tuple[DrawnNoise, str]]) -> go.Scatter:
    """Return the measured errors as marks in their sketches' colours."""
    colors = [color for _, color in marks]
    errors = [one.standard_error / one.exact for one, _ in marks]
    return go.Scatter(
        x=[one.rho for one, _ in marks],
        y=[one.measured / one.exact for one, _ in marks],
        hovertext=[_hover(drawn, one) for one, _ in marks],
        mode="markers",
        marker={"symbol": "circle-open", "size": 8, "color": colors, "line": {"width": 1.6}},
        error_y=bars_of(errors, errors, MUTED),
        name="S drawn, ± standard error",
        hoverinfo="text",
    )


def _rho_axis(drawn: _Drawn) -> dict[str, Any]:
    rates = sorted({one.rho for one in drawn.noise})
    span = [math.log10(rates[0]) - 0.08, math.log10(rates[-1]) + 0.08]
    ticks = {"tickvals": rates, "ticktext": [f"{100 * rate:g}" for rate in rates]}
    return axis("compression rate ρ, %", type="log", range=span, **ticks)


def _batch(drawn: _Drawn) -> str:
    assert drawn.watched is not None
    return f"a batch of {drawn.watched.samples} samples, {drawn.watched.rows} rows"


def _hover(drawn: _Drawn, noise: DrawnNoise) -> str:
    training = drawn.series.record.training
    assert training is not None
    lines = [
        f"<b>{noise.sketch} ρ={noise.rho:g}</b>",
        f"{place(drawn.series.row, ('model', 'task'))}, {noise.layer}, step {noise.step}",
        f"predicted {noise.predicted / noise.exact:.4g} of ‖XᵀY‖²",
        f"measured {noise.measured / noise.exact:.4g} ± {noise.standard_error / noise.exact:.2g}",
    ]
    if drawn.watched is not None:
        inflation = 1 + noise.predicted / drawn.watched.sgd_by_samples
        samples = drawn.watched.samples / inflation
        lines.append(f"noise inflation {inflation:.3g}: that of {samples:.3g} samples")
    return "<br>".join([*lines, f"trained at {training.samples_per_second:.4g} samples/s"])
