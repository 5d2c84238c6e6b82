"""The progress of a run, shown in a terminal, in a notebook, or as lines elsewhere."""

import functools
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rmmbench.running.events import Event, Finished, Working
from rmmbench.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.console import Console

    from rmmbench.results.record import Record
    from rmmbench.spec.case import Case


class Estimate:
    """An estimate of how long the cases that are left will take, from how long similar ones took.

    Cases are similar if they have the same model, batch and device, and, if they train, the same
    settings. Where no similar case is done yet, all count.
    """

    def __init__(self, cases: "Sequence[Case]") -> None:
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
        if not sum(every):
            return None
        overall = sum(every) / len(every)
        expected = 0.0
        for kind in self._left.values():
            alike = self._done.get(kind)
            expected += sum(alike) / len(alike) if alike else overall
        # Cases that run side by side take less time than their sum.
        return expected * min(1.0, (time.monotonic() - self._start) / sum(every))


Update = Callable[..., None]
"""Changes what a bar shows: `advance`, `description`, `left`."""


@contextmanager
def bar(total: int | None, *, is_wanted: bool = True) -> "Iterator[tuple[Update, bool]]":
    """Show a bar on stderr, or below a notebook's cell, within this context.

    Args:
        total: How much there is to do; None if that is unknown.
        is_wanted: Whether to draw it at all.

    Yields:
        A function of `advance`, `description` and `left` that changes the bar; and whether the bar
        can be seen: without a terminal or a notebook the caller prints lines.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    is_seen = is_wanted and draws(console)
    progress = Progress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.description}", style="dim", markup=False),
        console=console,
        disable=not is_seen,
    )
    with progress:
        task = progress.add_task("starting", total=total, left="")
        yield functools.partial(progress.update, task), is_seen


def draws(console: "Console") -> bool:
    """Return whether a bar can move on this console: a terminal, or a notebook with widgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


def show_progress(events: Iterator[Event], cases: "Sequence[Case] | None" = None) -> None:
    """Go through events to the end, and show a bar with what runs, what is left and an estimate.

    Where no bar can be seen, print a line for each case to stderr; for a search print it always.

    Args:
        events: Of a run.
        cases: All cases to do; None for a search, whose number of cases is unknown.
    """
    estimate = Estimate(cases or ())
    with bar(None if cases is None else len(cases)) as (update, is_seen):
        for event in events:
            if isinstance(event, Working):
                update(description=_running(event))
            elif isinstance(event, Finished):
                estimate.finish(event.record)
                left = estimate.seconds_left() if cases else None
                update(advance=1, left=f"about {format_seconds(left)} left" if left else "")
                if cases is None or not is_seen:
                    print(_outcome(event.record), file=sys.stderr)  # noqa: T201


def show_nothing(events: Iterator[Event], cases: "Sequence[Case] | None" = None) -> None:
    """Go through events to the end, and show nothing."""
    deque(events, maxlen=0)


def _running(event: Working) -> str:
    named = [f"{case.title}: {stage}" for case, stage in event.running]
    return named[0] + (f" (+{len(named) - 1})" if len(named) > 1 else "") if named else ""


def _outcome(record: "Record") -> str:
    """Return the result of a case in one line."""
    case, took = record.case, format_seconds(record.wall_seconds)
    is_probe = case.memory_limit_bytes is not None
    memory = record.memory
    peak = memory.peak_allocated_bytes if memory else None
    found = [memory.needed if is_probe else format_bytes(peak)] if memory else []
    if record.outcome != "ok":
        is_too_large = is_probe and record.outcome == "out_of_memory"
        found.append("does not fit" if is_too_large else record.outcome.replace("_", " "))
    elif record.training and record.training.score is not None:
        found = [f"{record.training.metric} {record.training.score:.4g}"]
    elif record.timing:
        found.append(f"{record.timing.samples_per_second:.4g} samples/s")
    elif is_probe:
        found.append("fits")
    where = f", {case.device}" if is_probe else ""
    return f"{case.title}{where}: {', '.join(found)} ({took})"


def _kind(case: "Case") -> str:
    # A method's time counts if there are many steps; else making the model takes longer.
    how = case.label if case.training else ""
    return f"{case.model} {case.shape} {case.device} {how}"
