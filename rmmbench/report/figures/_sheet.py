"""Places panels on one sheet, with legends, a title and a footnote. Sizes are in pixels."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import plotly.graph_objects as go

from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._style import FONT, INK, MUTED

TOP, LEFT, RIGHT, BOTTOM = 88, 78, 28, 80
GUTTER, ROW_GAP = 74, 106
EDGE, TITLE, HEADING_LINE, NOTE_LINE, LEGEND_GAP = 20, 36, 17, 17, 14
LEGEND_ROOM = 240  # about what a legend takes, before it is known
MANY = 40


@dataclass(frozen=True)
class _Slot:
    """A panel's place, as fractions of the plot area, and the suffix of its axes' names."""

    suffix: str
    x: tuple[float, float]
    y: tuple[float, float]


def sheet(
    panels: Sequence[Panel],
    *,
    columns: int,
    title: str,
    subtitle: str,
    footnote: str,
    left: int = LEFT,
    legend: str | None = None,
) -> go.Figure:
    """Return a figure of a fixed size with the panels in rows of `columns`.

    Args:
        panels: In reading order.
        columns: The most panels in a row.
        title: The bold first line.
        subtitle: The line below the title.
        footnote: The text below the panels, wrapped to the figure's width.
        left: The left margin, in pixels.
        legend: Title of a legend that all panels share, to the right of the first row. Without
            it, panels bring their own.
    """
    columns = min(columns, len(panels))
    panels, columns, shrunk = _fitted(panels, columns, left)
    if legend is not None:
        corner = replace(panels[columns - 1], legend=legend)
        panels = [*panels[: columns - 1], corner, *panels[columns:]]
    legends = _shared_legends(panels)
    widths = [
        _column_width(panels, legends, range(c, len(panels), columns)) for c in range(columns)
    ]
    heights = [panels[start].height for start in range(0, len(panels), columns)]
    width = sum(widths) + GUTTER * (len(widths) - 1)
    height = sum(heights) + ROW_GAP * (len(heights) - 1)
    note = textwrap.wrap(footnote, round((width + left) / 6.1))
    bottom = BOTTOM + NOTE_LINE * len(note)
    top = TOP + HEADING_LINE * max(len(panel.above) for panel in panels[:columns])
    placed = list(zip(panels, _slots(panels, widths, heights), strict=True))
    layout: dict[str, Any] = {}
    for panel, slot in placed:
        layout |= _axes(panel, slot)
        if panel.legend is not None:
            beside = slot.x[1] + LEGEND_GAP / width, slot.y[1]
            layout[f"legend{slot.suffix}"] = _legend(panel.legend, *beside)
    below: dict[str, Any] = {"x": 0, "xref": "paper", "xanchor": "left", "xshift": EDGE - left - 4}
    below |= {"y": 0, "yref": "paper", "yanchor": "bottom", "yshift": 12 - bottom}
    # Error messages and machine names may have "<" in them, which is no tag there.
    last = _text("<br>".join(escape(line, quote=False) for line in note), below, size=11.5)
    layout |= {
        "template": "plotly_white",
        "font": {"family": FONT, "size": 13, "color": INK},
        "title": _title(title, subtitle, y=1 - TITLE / (top + height + bottom), left=left),
        "width": left + width + RIGHT,
        "height": top + height + bottom,
        "margin": {"t": top, "b": bottom, "l": left, "r": RIGHT},
        "hoverlabel": {"bgcolor": "white", "font": {"family": FONT, "size": 12.5}, "align": "left"},
        "hovermode": "closest",
        "barmode": "overlay",
        # What stands around the panels, for a page that says it in text of its own.
        "meta": {"title": title, "subtitle": subtitle, "footnote": footnote, "lines": len(note)}
        | {"shrunk": shrunk},
        "shapes": [shape for panel, slot in placed for shape in _shapes(panel, slot)],
        "annotations": [*(text for panel, slot in placed for text in _texts(panel, slot)), *last],
    }
    # All at once, for plotly checks the whole figure whenever something is added to it.
    return go.Figure([trace for panel, slot in placed for trace in _traces(panel, slot)], layout)


@contextmanager
def room(width: int) -> Iterator[None]:
    """Within, sheets are about so many pixels wide at most, as far as their panels allow it."""
    token = _room.set(width)
    try:
        yield
    finally:
        _room.reset(token)


_room: ContextVar[int | None] = ContextVar("room", default=None)


def _fitted(panels: Sequence[Panel], columns: int, left: int) -> tuple[Sequence[Panel], int, float]:
    """Return panels and columns that fit in the room, and how much narrower panels became.

    Fewer panels stand in a row, as many as make full rows; alone in a row they are made narrower.
    Of many panels the rows stay, for the sheet would be too high.
    """
    space = _room.get()
    if space is None:
        return panels, columns, 1.0
    space -= left + RIGHT + LEGEND_ROOM
    while columns > 1 and len(panels) <= MANY and _width(panels, columns) > space:
        columns = next(fewer for fewer in range(columns - 1, 0, -1) if columns % fewer == 0)
    widest = max(panel.width for panel in panels)
    if columns > 1 or widest <= space:
        return panels, columns, 1.0
    narrow = [replace(panel, width=min(panel.width, space)) for panel in panels]
    return narrow, columns, widest / space


def _width(panels: Sequence[Panel], columns: int) -> int:
    """Return the width of all columns without their legends."""
    widths = [max(panel.width for panel in panels[column::columns]) for column in range(columns)]
    return sum(widths) + GUTTER * (columns - 1)


def _shared_legends(panels: Sequence[Panel]) -> dict[int, list[str]]:
    """Assign each trace to a legend, each name once; return the names by their panel's index."""
    owners = [index for index, panel in enumerate(panels) if panel.legend is not None]
    legends: dict[int, list[str]] = {index: [] for index in owners}
    for index, panel in enumerate(panels):
        owner = index if index in owners else owners[0]
        for trace in panel.traces:
            trace.update(legend=f"legend{_suffix(owner)}")
            if trace.showlegend is not False and trace.name not in legends[owner]:
                legends[owner].append(trace.name)
            else:
                trace.update(showlegend=False)
    return legends


def _suffix(index: int) -> str:
    return str(index + 1) if index else ""


def _column_width(panels: Sequence[Panel], legends: dict[int, list[str]], column: range) -> int:
    """Return the width of a column: its widest panel plus its widest legend."""
    names = [[panels[i].legend or "", *legends[i]] for i in column if i in legends]
    legend_widths = [58 + round(6.9 * max(map(len, words))) for words in names]
    return max(panels[i].width for i in column) + max(legend_widths, default=0)


def _slots(panels: Sequence[Panel], widths: Sequence[int], heights: Sequence[int]) -> list[_Slot]:
    slots = []
    width = sum(widths) + GUTTER * (len(widths) - 1)
    height = sum(heights) + ROW_GAP * (len(heights) - 1)
    for index, panel in enumerate(panels):
        row, column = divmod(index, len(widths))
        left = sum(widths[:column]) + GUTTER * column
        top = sum(heights[:row]) + ROW_GAP * row
        x = (left / width, (left + panel.width) / width)
        # Rounding must not leave [0, 1], which plotly refuses.
        y = (max(1 - (top + panel.height) / height, 0.0), 1 - top / height)
        slots.append(_Slot(_suffix(index), x, y))
    return slots


def _traces(panel: Panel, slot: _Slot) -> Iterator[Any]:
    for trace in panel.traces:
        yield trace.update(xaxis=f"x{slot.suffix}", yaxis=f"y{slot.suffix}")


def _axes(panel: Panel, slot: _Slot) -> dict[str, Any]:
    x, y = f"x{slot.suffix}", f"y{slot.suffix}"
    axes = {f"xaxis{slot.suffix}": {"domain": slot.x, "anchor": y, **panel.x}}
    return axes | {f"yaxis{slot.suffix}": {"domain": slot.y, "anchor": x, **panel.y}}


def _shapes(panel: Panel, slot: _Slot) -> Iterator[dict[str, Any]]:
    x, y = f"x{slot.suffix}", f"y{slot.suffix}"
    dashes = {"type": "line", "line": {"dash": "dash", "color": MUTED, "width": 1.5}}
    dashes |= {"layer": "above"}
    for level in panel.levels:
        ends = {"x0": 0, "x1": 1, "xref": f"{x} domain", "y0": level.y, "y1": level.y, "yref": y}
        yield dashes | ends
    for wall in panel.walls:
        ends = {"y0": 0, "y1": 1, "yref": f"{y} domain", "x0": wall, "x1": wall, "xref": x}
        yield dashes | ends


def _texts(panel: Panel, slot: _Slot) -> Iterator[dict[str, Any]]:
    across = f"x{slot.suffix} domain"
    for level in panel.levels:
        at = {"x": 0 if level.side == "left" else 1, "xref": across, "xanchor": level.side}
        yield from _text(
            level.text, at | {"y": level.y, "yref": f"y{slot.suffix}", "yanchor": "bottom"}
        )
    corner = {"x": 0, "xref": across, "xanchor": "left", "y": 1, "yref": f"y{slot.suffix} domain"}
    yield from _text(panel.corner, corner | {"yanchor": "top", "bgcolor": "white"})
    above = corner | {"yanchor": "bottom"}
    yield from _text("<br>".join(panel.above), above, color=INK)


def _legend(title: str, x: float, y: float) -> dict[str, Any]:
    heading = {"text": title, "font": {"size": 12, "color": MUTED}}
    place = {"x": x, "y": y, "xanchor": "left", "yanchor": "top", "bgcolor": "rgba(0,0,0,0)"}
    return place | {"title": heading, "font": {"size": 12.5}, "tracegroupgap": 0}


def _title(text: str, subtitle: str, y: float, left: int) -> dict[str, Any]:
    below = f"<br><span style='font-size:13.5px;color:{MUTED}'>{subtitle}</span>"
    where = {"x": 0, "xref": "paper", "y": y, "yref": "container", "yanchor": "top"}
    look = {"font": {"size": 19}, "pad": {"l": EDGE - left}}
    return where | look | {"text": f"<b>{text}</b>{below}"}


def _text(
    text: str, where: dict[str, Any], size: float = 12, color: str = MUTED
) -> list[dict[str, Any]]:
    """Return the annotation that shows a text; none if the text is empty."""
    look: dict[str, Any] = {"font": {"size": size, "color": color}}
    look |= {"showarrow": False, "borderpad": 4, "align": "left"}
    return [look | where | {"text": text}] if text else []
