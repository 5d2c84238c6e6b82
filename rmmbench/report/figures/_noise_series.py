"""What the figures of gradient noise share: watched layers, their names and variances."""

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
        row, record: The case's.
        layer: Qualified name.
        noise: In order of steps.
        heading: What tells the case from the others.
        subheading: The layer's short name; for exact also the ρ that its noise was computed at.
    """

    row: Row
    record: Record
    layer: str
    noise: tuple[LayerNoise, ...]
    heading: str
    subheading: str


def watching_rows(data: FigureData) -> list[Row]:
    """Return the cases that were asked to watch layers while they trained."""
    watching = {
        record.key
        for record in data.records
        if record.case.training is not None and record.case.training.watch
    }
    return [row for row in data.rows if row["key"] in watching]


def all_series(data: FigureData) -> list[Series]:
    """Return every watched layer of every case with measured noise."""
    rows = {row["key"]: row for row in watching_rows(data)}
    known = [record for record in data.records if record.key in rows and _noise(record)]
    names, drawn = setting_names(list(rows.values())), [rows[record.key] for record in known]
    series = []
    for record, row in zip(known, drawn, strict=True):
        told = join(heading([row], drawn), names[record.key]) if len(known) > 1 else ""
        for layer in dict.fromkeys(noise.layer for noise in _noise(record)):
            noise = tuple(one for one in _noise(record) if one.layer == layer)
            series.append(Series(row, record, layer, noise, told, _subheading(record, layer)))
    return series


def shortened(layer: str) -> str:
    """Return a layer's name from its block's number on: "7.output.dense"."""
    parts = layer.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    # A number that ends a name says too little alone.
    return ".".join(parts[numbers[0] :]) if numbers and parts[numbers[0] + 1 :] else layer


def hover_of(series: Series, noise: LayerNoise, *words: str) -> str:
    """Return all numbers of a layer at a step, one per line, after `words`."""
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
    """Return a sheet with the panel `above` of each series and a panel of its variances below.

    If there are many series, the two panels of each stand side by side.
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
    """Return a panel per series with the traces that `draw` returns, all to one log scale."""
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
