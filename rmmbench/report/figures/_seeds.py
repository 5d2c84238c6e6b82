"""What figures of training runs share: curves over seeds, the bands around them, the sheet."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
from plotly.graph_objects import Figure as Drawing

from rmmbench.report import papers_rows
from rmmbench.report.figures._notes import footnote, join, shared_words
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._sheet import sheet
from rmmbench.report.figures._style import INK, key
from rmmbench.report.figures.figure import FigureData
from rmmbench.report.labels import PAPERS_EXACT, place, setting
from rmmbench.report.scores import Line, Spread, threads_note
from rmmbench.results.tidy import CELL, kind_columns
from rmmbench.results.trained import Training
from rmmbench.units import format_count

BAND = "± standard deviation"
MANY = 12  # points of a curve; the marks of more would hide the line
Curve = list[tuple[float, Spread]]


def curve(line: Line, series: Callable[[Training], Iterable[tuple[float, float]]]) -> Curve:
    """Return the spread over seeds at each x where every run of the line has a number."""
    values: dict[float, list[float]] = {}
    found = [dict(series(run.training)) for run in line.finished.values() if run.training]
    runs = [points for points in found if points]
    for points in runs:
        for x, y in points.items():
            values.setdefault(x, []).append(y)
    whole = {x: numbers for x, numbers in values.items() if len(numbers) == len(runs)}
    spreads = ((x, Spread.of(numbers)) for x, numbers in sorted(whole.items()))
    return [(x, spread) for x, spread in spreads if spread is not None]


def curves(
    lines: Sequence[Line],
    points: Callable[[Line], Curve],
    look: Callable[[Line], tuple[str, str]],
    *,
    x: str,
    y: str,
    digits: int = 3,
) -> list[Any]:
    """Return the curves of a panel, each with its band over seeds, and the legend entry for bands.

    Args:
        lines: The lines of one place.
        points: Returns a line's curve.
        look: Returns the name and colour of a line other than exact.
        x: The word before x in hover text.
        y: The word before y in hover text.
        digits: Decimal places of y in hover text.
    """
    traces = list[go.Scatter]()
    for line in lines:
        if found := points(line):
            name, color = (PAPERS_EXACT, INK) if line.is_exact else look(line)
            texts = [
                f"{hover_title(line)}<br>{x} {at:g}<br>{y} {spread_text(spread, digits=digits)}"
                for at, spread in found
            ]
            traces += _curve_traces(found, name, color, texts)
    if any(len(line.finished) > 1 for line in lines):
        traces.append(band_key())
    return traces


def _curve_traces(
    points: Curve, name: str, color: str, hovertext: Sequence[str]
) -> Iterator[go.Scatter]:
    """Yield a curve's band, if there is more than one run, and its mean."""
    x = [x for x, _ in points]
    low, high = zip(*(spread.ends for _, spread in points), strict=True)
    if any(spread.deviation for _, spread in points):
        yield band(x, low, high, color, name)
    look = {"color": color, "width": 2.0 if color != INK else 2.6}
    trace = go.Scatter(x=x, y=[spread.mean for _, spread in points], mode="lines", line=look)
    if len(points) <= MANY:
        trace.update(mode="lines+markers", marker={"size": 6, "color": color})
    yield trace.update(name=name, legendgroup=name, hoverinfo="text", hovertext=hovertext)


def band(
    x: Sequence[float], low: Sequence[float], high: Sequence[float], color: str, name: str
) -> go.Scatter:
    """Return the area between two curves; hiding the line called `name` hides it too."""
    outline = {"x": [*x, *reversed(x)], "y": [*high, *reversed(low)], "fill": "toself"}
    trace = go.Scatter(**outline, mode="lines", line={"width": 0}, fillcolor=_faint(color))
    return trace.update(name=BAND, legendgroup=name, hoverinfo="skip", showlegend=False)


def band_key() -> go.Scatter:
    """Return the legend entry for bands."""
    return key(BAND, "square").update(marker={"size": 14, "opacity": 0.3, "line": {"width": 0}})


def curve_scale(curves: Iterable[Curve]) -> list[float]:
    """Return the range of an axis that holds all curves and their bands."""
    ends = [end for points in curves for _, spread in points for end in spread.ends] or [0.0, 1.0]
    room = 0.05 * ((max(ends) - min(ends)) or 1.0)
    return [min(ends) - room, max(ends) + room]


def spread_text(spread: Spread, *, digits: int = 3) -> str:
    """Format a number over seeds: "0.591 ± 0.012, over 5 seeds"."""
    mean = f"{spread.mean:.{digits}f}"
    if spread.deviation is not None:
        mean += f" ± {spread.deviation:.{digits}f}"
    return f"{mean}, over {format_count(spread.count, 'seed')}"


def hover_title(line: Line) -> str:
    """Return the first lines of every hover text: the setting, and what was trained."""
    return f"<b>{setting(line.row, kind_columns())}</b><br>{place(line.row, CELL[:4])}"


def training_sheet(
    panels: Sequence[Panel],
    data: FigureData,
    lines: Sequence[Line],
    drawn: Sequence[Line],
    *,
    subtitle: str,
    **layout: Any,
) -> Drawing:
    """Return the panels on a sheet, with a footnote about where and on what the runs were trained.

    `drawn` are those of the run's `lines` that have a mark. The subtitle begins with what they
    share: "roberta-tiny · CoLA · 32×64 · adam". `layout` takes other arguments of `sheet`.
    """
    runs = [run for line in lines for run in line.records.values()]
    synthetic = "; ".join(dict.fromkeys(run.synthetic for run in runs if run.synthetic))
    measured = footnote(
        replace(data, synthetic=synthetic),
        [run.row() for run in runs],
        [run.row() for line in drawn for run in line.finished.values()],
        subjects=["training"],
    )
    said = [measured, threads_note(lines)]
    if any(panel.has_published for panel in panels):
        said.append(
            f"Hollow diamonds are the paper's numbers ({papers_rows.sources(data.profile)}), from "
            "its own hardware and weights; the unchanged model's is at the right edge."
        )
    return sheet(
        panels,
        subtitle=join(shared_words([line.row for line in drawn]), subtitle),
        footnote=" ".join(filter(None, said)),
        **layout,
    )


def _faint(color: str) -> str:
    """Return a colour, given as "#rrggbb" or "rgb(r, g, b)", made nearly transparent."""
    if color.startswith("#"):
        parts = [str(int(color[i : i + 2], 16)) for i in (1, 3, 5)]
    else:
        parts = color.removeprefix("rgb(").removesuffix(")").split(",")
    return f"rgba({','.join(parts)},0.16)"
