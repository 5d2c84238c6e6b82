"""How far a sweep is: a bar with what runs now, what is left, and an estimate."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rmmbench.running.events import Event, Finished, Working
from rmmbench.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rmmbench.results.record import Record
    from rmmbench.spec.case import Case


class Estimate:
    """How long the cases that are left will take, from how long their like has taken.

    Cases are alike by model, batch and device, and by their settings if they train; where none of
    the like is done yet, all count.
    """

    def __init__(self, cases: "list[Case]") -> None:
        """Start with none of `cases` done."""
        self._left = {case.key: _kind(case) for case in cases}
        self._done: dict[str, list[float]] = {}
        self._start = time.monotonic()

    def finish(self, record: "Record") -> None:
        """Take a finished case into account."""
        self._left.pop(record.key, None)
        self._done.setdefault(_kind(record.case), []).append(record.wall_seconds)

    def seconds_left(self) -> float | None:
        """Return the estimate, or None before the first case is done."""
        every = [seconds for kind in self._done.values() for seconds in kind]
        if not every:
            return None
        overall = sum(every) / len(every)
        expected = 0.0
        for kind in self._left.values():
            alike = self._done.get(kind)
            expected += sum(alike) / len(alike) if alike else overall
        # Several cases at a time take less than their sum.
        return expected * min(1.0, (time.monotonic() - self._start) / sum(every))


def show_progress(events: Iterator[Event], cases: "list[Case]") -> None:
    """Draw a bar on stderr until `events` end; a line a case where stderr is no terminal."""
    console = Console(stderr=True)
    estimate = Estimate(cases)
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.description}", style="dim", markup=False),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("starting", total=len(cases), left="")
        for event in events:
            if isinstance(event, Working):
                progress.update(bar, description=_running(event))
            elif isinstance(event, Finished):
                estimate.finish(event.record)
                left = estimate.seconds_left()
                about = f"about {format_seconds(left)} left" if left else ""
                progress.update(bar, advance=1, left=about)
                _line(console, event.record)


def _running(event: Working) -> str:
    named = [f"{case.title}: {stage}" for case, stage in event.running]
    return named[0] + (f" (+{len(named) - 1})" if len(named) > 1 else "") if named else ""


def _line(console: Console, record: "Record") -> None:
    case = record.case
    if not console.is_terminal:
        figures: str = record.outcome
        if record.memory:
            figures = format_bytes(record.memory.peak_allocated_bytes)
        if record.timing:
            figures += f", {record.timing.samples_per_second:.4g} samples/s"
        if record.training and record.training.score is not None:
            figures = f"{record.training.metric} {record.training.score:.4g}"
        print(f"{case.title}: {figures} ({format_seconds(record.wall_seconds)})", file=sys.stderr)  # noqa: T201


def _kind(case: "Case") -> str:
    # A sketch takes its time at every step; beside starting a model it hardly counts.
    how = case.label if case.training else ""
    return f"{case.model} {case.shape} {case.device} {how}"
