"""A figure's panels alone, for a page that has its title and footnote as text."""

import json
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Any

from rmmbench.report.figures._sheet import NOTE_LINE, TOP

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing

ABOVE = 30  # pixels left above the panels, for what stands over their axes


@dataclass(frozen=True)
class Unframed:
    """The panels as JSON for plotly.js, and the words that stood around them.

    Attributes:
        panels: How many there are.
        shrunk: How many times as wide its panels would be with as much room as they want.
        points: The words of every point, with the name of its line before them.
    """

    title: str
    subtitle: str
    footnote: str
    width: int
    height: int
    json: str
    panels: int
    shrunk: float
    points: tuple[str, ...]


def unframed(drawing: "Drawing") -> Unframed:
    """Return the panels of a sheet without its title, its subtitle and its footnote."""
    told = json.loads(drawing.to_json())
    layout, traces = told["layout"], told["data"]
    meta, margin = layout.pop("meta"), layout["margin"]
    del layout["title"]
    if meta["footnote"]:
        # It is the last annotation.
        layout["annotations"].pop()
    less = {"t": TOP - ABOVE, "b": NOTE_LINE * meta["lines"]}
    for side, size in less.items():
        margin[side] -= size
    layout["height"] -= sum(less.values())
    return Unframed(
        title=meta["title"],
        subtitle=meta["subtitle"],
        footnote=meta["footnote"],
        width=layout["width"],
        height=layout["height"],
        json=json.dumps({"data": traces, "layout": layout}, separators=(",", ":")),
        panels=sum(name.startswith("xaxis") for name in layout),
        shrunk=meta["shrunk"],
        points=tuple(_points(traces)),
    )


def _points(traces: list[dict[str, Any]]) -> list[str]:
    """Return what hovering tells of each point, once."""
    found: dict[str, None] = {}
    for trace in traces:
        if trace.get("hoverinfo") == "skip":
            continue
        texts = trace.get("hovertext") or trace.get("text") or ()
        for text in [texts] if isinstance(texts, str) else texts:
            lines = [_plain(line) for line in text.split("<br>")]
            name = _plain(trace.get("name") or "")
            lines = lines if not name or name in lines[0] else [name, *lines]
            if any(lines):
                found[" · ".join(filter(None, lines))] = None
    return list(found)


def _plain(text: str) -> str:
    """Return the text of a line of hover text, which marks only what is bold."""
    for tag in ("<b>", "</b>", "<sup>", "</sup>"):
        text = text.replace(tag, "")
    return unescape(text).strip()
