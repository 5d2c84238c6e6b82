"""The axis of a training step: its phases side by side, each as wide as it is to be read."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from rmmbench.report.figures._style import axis
from rmmbench.results.timeline import Phase, Timeline

# The optimizer runs many operators in which memory hardly changes.
WIDTHS: Final[Mapping[Phase, float]] = {"forward": 1.0, "backward": 1.0, "optimizer": 0.6}
_MOST_NUMBERS = 12


class Stretch(NamedTuple):
    """Points of one phase that follow one another.

    Attributes:
        phase: Theirs.
        first: The time of the first point.
        last: The time of the last point.
        left: Where the stretch begins on the axis.
        width: How wide it is.
    """

    phase: Phase
    first: int
    last: int
    left: float
    width: float


def stretches(timeline: Timeline) -> list[Stretch]:
    """Return the phases of a step in order; those of its micro-batches share the width of one."""
    runs = [list(run) for _, run in itertools.groupby(timeline.points, lambda each: each.phase)]
    phases = [run[0].phase for run in runs]
    widths = [WIDTHS[phase] / phases.count(phase) for phase in phases]
    lefts = itertools.accumulate(widths, initial=0.0)
    return [
        Stretch(run[0].phase, run[0].time, run[-1].time, left, width)
        for run, left, width in zip(runs, lefts, widths, strict=False)
    ]


def places(timeline: Timeline) -> Iterator[float]:
    """Yield each point's x: its stretch's start plus how much of the stretch is done."""
    of_each = iter(stretches(timeline))
    for _, run in itertools.groupby(timeline.points, lambda each: each.phase):
        stretch = next(of_each)
        for point in run:
            done = (point.time - stretch.first) / max(stretch.last - stretch.first, 1)
            yield stretch.left + stretch.width * done


def walls(timeline: Timeline) -> list[float]:
    """Return where lines stand: between phases, or between micro-batches if there are several."""
    return [part[0].left for part in _parts(timeline)[1:]]


def phase_axis(timeline: Timeline) -> dict[str, Any]:
    """Return an axis with the phases of a step, or with its micro-batches if there are several."""
    parts = _parts(timeline)
    ends = [part[-1].left + part[-1].width for part in parts]
    middles = [(part[0].left + end) / 2 for part, end in zip(parts, ends, strict=True)]
    ticks = {"tickvals": middles, "ticktext": _words(parts), "ticks": "", "tickfont": {"size": 11}}
    return axis("", range=[0, ends[-1]], showgrid=False) | ticks


def _parts(timeline: Timeline) -> list[list[Stretch]]:
    """Return the phases of a step each by itself, or a micro-batch's two together."""
    found = stretches(timeline)
    passes = [each for each in found if each.phase != "optimizer"]
    if len(passes) <= 2:
        return [[each] for each in found]
    pairs = [passes[i : i + 2] for i in range(0, len(passes), 2)]
    return pairs + [[each] for each in found if each.phase == "optimizer"]


def _words(parts: list[list[Stretch]]) -> list[str]:
    """Return what stands below each part: "micro-batch 1", 2, 3 … where there are several."""
    if all(len(part) == 1 for part in parts):
        return [part[0].phase for part in parts]
    count = sum(part[0].phase != "optimizer" for part in parts)
    numbers = [str(number) for number in range(1, count + 1)]
    if count > _MOST_NUMBERS:
        numbers = [each if each in ("1", str(count)) else "" for each in numbers]
    lead = "micro-batch " if count <= 2 else ""
    said = [f"{lead}{number}" for number in numbers]
    if not lead:
        said[(count - 1) // 2] = f"micro-batch {(count + 1) // 2}"
    return said + [part[0].phase for part in parts[count:]]
