"""A panel: one pair of axes and what is drawn on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rmmbench.report.figures._style import PUBLISHED


@dataclass(frozen=True)
class Level:
    """A dashed horizontal line with a word at the panel's left or right end."""

    y: float
    text: str = ""
    side: str = "right"


@dataclass(frozen=True)
class Panel:
    """A panel of a sheet.

    Attributes:
        traces: Plotly traces. The legend lists each name once, unless `showlegend` is false.
        x, y: Settings of the axes.
        levels: Dashed horizontal lines.
        walls: Dashed vertical lines, by x.
        heading, subheading: Text above the panel.
        corner: Text in the top left corner.
        legend: The legend's title. A panel without one uses the legend of the first that has one.
        width, height: Of the axes, in pixels.
    """

    traces: Sequence[Any]
    x: Mapping[str, Any]
    y: Mapping[str, Any]
    levels: Sequence[Level] = ()
    walls: Sequence[float] = ()
    heading: str = ""
    subheading: str = ""
    corner: str = ""
    legend: str | None = None
    width: int = 430
    height: int = 380

    @property
    def above(self) -> list[str]:
        """The lines above the panel."""
        heading = f"<b>{self.heading}</b>" if self.heading else ""
        return [line for line in (heading, self.subheading) if line]

    @property
    def has_published(self) -> bool:
        """Whether the panel has marks of published numbers, with their line in the legend."""
        return any(
            trace.name == PUBLISHED and trace.showlegend is not False for trace in self.traces
        )
