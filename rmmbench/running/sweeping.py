"""Measure what a run directory has no record of yet, and keep each record as it comes."""

from collections.abc import Iterator, Sequence

from rmmbench.results.store import Run
from rmmbench.running.events import Ahead, Event, Finished
from rmmbench.running.launchers.launcher import Launcher
from rmmbench.spec.case import Case


def remaining(run: Run, cases: Sequence[Case], *, retry: bool = False) -> list[Case]:
    """Return the cases that the run has no record of; with `retry`, also those that failed."""
    done = {record.key for record in run.records() if not (retry and record.has_failed)}
    return [case for case in cases if case.key not in done]


def sweep(
    run: Run, cases: Sequence[Case], launcher: Launcher, *, retry: bool = False
) -> Iterator[Event]:
    """Measure the cases that are left, and yield what is ahead, and then what `measured` yields.

    The run's lock must be held. With `retry`, failed cases are measured again.

    Raises:
        RunError: If a record cannot be written; those before it stand.
        EndedError: If no process can be started.
    """
    left = remaining(run, cases, retry=retry)
    yield Ahead(left, run.records())
    yield from measured(run, left, launcher)


def measured(run: Run, cases: Sequence[Case], launcher: Launcher) -> Iterator[Event]:
    """Measure cases, and yield the events, each record once it is on disk.

    Raises:
        RunError: If a record cannot be written; those before it stand.
        EndedError: If no process can be started.
    """
    for event in launcher.run(cases):
        if isinstance(event, Finished):
            run.append(event.record)
            run.drop_checkpoints(event.record.key)
        yield event
