"""One pair of axes and what is drawn on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rmmbench.report.figures._style import PUBLISHED


@dataclass(frozen=True)
class Level:
    """A dashed horizontal line, with a word on it at the panel's left or right end."""

    y: float
    text: str = ""
    side: str = "right"


@dataclass(frozen=True)
class Panel:
    """A panel of a sheet.

    Attributes:
        traces: Each name is once in the legend, unless `showlegend` is false.
        x, y: Settings of the axes.
        levels: Dashed lines.
        walls: Dashed vertical lines.
        heading, subheading: What stands above the panel.
        corner: What stands in its top left corner.
        legend: The legend's title; a panel without one shares that of the first panel with one.
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
        return [
            *([f"<b>{self.heading}</b>"] if self.heading else []),
            *filter(None, [self.subheading]),
        ]

    @property
    def names(self) -> list[str]:
        """What the panel puts into a legend."""
        return [trace.name for trace in self.traces if trace.showlegend is not False]

    @property
    def has_published(self) -> bool:
        """Whether there are hollow marks."""
        return PUBLISHED in self.names
