"""What the figures of gradient noise share: a watched layer of a run, its names, its variances."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._notes import case_sheet, heading, join, setting_names
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._style import COLORS, Point, axis, line, log_scale
from rmmbench.report.figures.figure import FigureData
from rmmbench.report.labels import place, setting
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.results.record import Record
from rmmbench.results.tidy import CELL, Row

COLUMNS = 4
VARIANCES: dict[str, Callable[[LayerNoise], float]] = {
    "D²_SGD by rows, eq. 9": lambda noise: noise.sgd_by_rows,
    "D²_SGD by samples": lambda noise: noise.sgd_by_samples,
    "D²_RMM by eq. 11": lambda noise: noise.papers_variance,
    "D²_RMM of gaussian": lambda noise: noise.variances["gaussian"],
}


class Series(NamedTuple):
    """One watched layer of one case.

    Attributes:
        row: Of the case.
        record: Of the case.
        layer: Qualified name.
        noise: In order of steps.
        heading, subheading: What tells it from the others; the layer, and ρ if it has none itself.
    """

    row: Row
    record: Record
    layer: str
    noise: tuple[LayerNoise, ...]
    heading: str
    subheading: str


def watching_rows(data: FigureData) -> list[Row]:
    """Return the cases that were to watch layers while they trained."""
    watching = {
        record.key
        for record in data.records
        if record.case.training is not None and record.case.training.watch
    }
    return [row for row in data.rows if row["key"] in watching]


def all_series(data: FigureData) -> list[Series]:
    """Return every watched layer of every case that has noise."""
    rows = {row["key"]: row for row in watching_rows(data)}
    known = [record for record in data.records if record.key in rows and _noise(record)]
    names, drawn = setting_names(list(rows.values())), [rows[record.key] for record in known]
    series = []
    for record in known:
        row = rows[record.key]
        several = len(known) > 1
        told = join(heading([row], drawn), names[record.key]) if several else ""
        for layer in dict.fromkeys(noise.layer for noise in _noise(record)):
            noise = tuple(one for one in _noise(record) if one.layer == layer)
            series.append(Series(row, record, layer, noise, told, _subheading(record, layer)))
    return series


def shortened(layer: str) -> str:
    """Return a layer's name without what all blocks have before it: "7.output.dense"."""
    parts = layer.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    # A number that ends a name says nothing alone.
    return ".".join(parts[numbers[0] :]) if numbers and parts[numbers[0] + 1 :] else layer


def hover_of(series: Series, noise: LayerNoise, *words: str) -> str:
    """Return all that is known of a layer at a step, a line each."""
    training = series.record.training
    assert training is not None
    lines = [f"<b>{setting(series.row, ('sketch',))}</b>", place(series.row, CELL), series.layer]
    lines += [f"step {noise.step}: {noise.rows} rows of {noise.samples} samples", *words]
    lines += [f"{name}: {value(noise):.3g}" for name, value in VARIANCES.items()]
    for sketch in filter(None, dict.fromkeys((noise.trained_with, "gaussian"))):
        inflation = noise.inflation(sketch) if sketch in noise.variances else None
        if inflation is not None:
            lines.append(f"noise inflation of {sketch}: {inflation:.3g}")
    lines.append(f"trained at {training.samples_per_second:.4g} samples/s")
    return "<br>".join(lines)


def noise_sheet(
    data: FigureData, above: Sequence[Panel], series: Sequence[Series], title: str, note: str
) -> Drawing:
    """Return a drawing of a panel for each series, with a panel of its variances below.

    Of many series the two panels of each stand side by side.
    """
    above = [
        replace(panel, heading=one.heading, subheading=one.subheading)
        for panel, one in zip(above, series, strict=True)
    ]
    below = panels_of(series, "variance of the weight gradient, loss²", _variance_lines)
    panels = [*above, *below]
    if len(above) > COLUMNS:
        panels = [panel for pair in zip(above, below, strict=True) for panel in pair]
    return case_sheet(
        panels,
        data,
        watching_rows(data),
        [one.row for one in series],
        subjects=["training"],
        note=note,
        columns=min(len(above), COLUMNS),
        title=title,
        legend="",
    )


def panels_of(
    series: Sequence[Series], title: str, draw: Callable[[Series], list[Any]]
) -> list[Panel]:
    """Return a panel for each series of what `draw` draws of it, all to one logarithmic scale."""
    traces = [draw(one) for one in series]
    scale = log_scale([y for drawn in traces for trace in drawn for y in trace.y])
    return [
        Panel(drawn, axis("optimizer step"), axis(title, **scale), width=310, height=270)
        for drawn in traces
    ]


def _subheading(record: Record, layer: str) -> str:
    training = record.case.training
    if training is None or record.case.method != "exact":
        return shortened(layer)
    return join(shortened(layer), f"D²_RMM at ρ={training.watch_rho:g}")


def _variance_lines(series: Series) -> list[Any]:
    traces = []
    for index, (name, value) in enumerate(VARIANCES.items()):
        points: list[Point] = [
            (noise.step, value(noise), hover_of(series, noise))
            for noise in series.noise
            if value(noise) > 0
        ]
        if points:
            traces.append(line(points, name, COLORS[index], index))
    return traces


def _noise(record: Record) -> tuple[LayerNoise, ...]:
    return record.training.noise if record.training is not None else ()
