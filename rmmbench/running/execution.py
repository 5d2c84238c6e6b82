"""How a plan is carried out: a run directory is made, held, and filled with records."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import rmmbench
from rmmbench.errors import Interrupted
from rmmbench.results.record import Environment
from rmmbench.results.store import Run, RunInfo, hashes
from rmmbench.running.events import Event
from rmmbench.running.interrupts import deferred
from rmmbench.running.isolation.fork_server import EndedError
from rmmbench.running.local import LocalLauncher
from rmmbench.running.progress import show_progress
from rmmbench.running.sweeping import remaining, sweep
from rmmbench.spec.case import Case
from rmmbench.spec.profile import Profile

Follow = Callable[[Iterator[Event], Sequence[Case]], None]
"""Goes through the events of a run until they end; told the cases that it has to do."""


def open_run(
    path: Path,
    profile: Profile,
    cases: Sequence[Case],
    environment: Environment,
    *,
    name: str,
    command: str,
) -> Run:
    """Make the run directory of some cases, or open the one that is there.

    Args:
        path: The directory.
        profile: With all changes in it.
        cases: What the run is to measure.
        environment: The machine that measures.
        name: The profile's, as it was asked for.
        command: What a person typed to get there, for run.json.

    Raises:
        RunError: If it is of other cases, or cannot be written.
    """
    info = RunInfo(
        rmmbench=rmmbench.__version__,
        profile_name=name,
        profile=profile,
        environment=environment,
        command=command,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **hashes(cases),
    )
    return Run.create(path, info)


def run_path(name: str, device: str) -> Path:
    """Return where a run goes that nobody gave a directory: runs/NAME-DEVICE."""
    plain = re.sub(r"[:/\s]+", "-", name)
    return Path("runs") / f"{plain}-{device}"


def execute(
    run: Run, cases: Sequence[Case], *, retry: bool = False, follow: Follow = show_progress
) -> None:
    """Measure the cases that the run directory does not have yet; records stay whatever happens.

    Args:
        run: From `open_run`.
        cases: All of the run.
        retry: Measure cases anew that failed.
        follow: Goes through what happens; shows it as bars or lines on stderr if not given.

    Raises:
        RunError: If the directory is in use, or cannot be written.
        EndedError: If no process can be started.
        Interrupted: By a signal; its message says what is kept.
    """
    with holding(run, f"of {len(cases)} cases"):
        events = sweep(run, cases, launcher_of(run), retry=retry)
        follow(events, remaining(run, cases, retry=retry))


def launcher_of(run: Run) -> LocalLauncher:
    """Return what measures the cases of a run on this machine."""
    return LocalLauncher(
        run.info.environment,
        time_limit_seconds=run.info.profile.time_limit_seconds,
        jobs=run.info.environment.cpu_count,
        folder=run.path,
    )


@contextmanager
def holding(run: Run, what: str) -> Iterator[None]:
    """Hold the run directory; where measuring ends before its end, say how many records it has.

    Args:
        run: Nobody else writes to it within.
        what: Follows the number of records: "of 8 cases".

    Raises:
        RunError: If the directory is in use, or cannot be written.
        EndedError: If no process can be started.
        Interrupted: By a signal.
    """

    def kept() -> str:
        return f"{len(run.records())} {what} are recorded in {run.path}; the same command goes on"

    try:
        with run.locked(), deferred():
            yield
    except Interrupted as error:
        raise Interrupted(error.number, kept()) from None
    except EndedError as error:
        raise EndedError(f"{error}; {kept()}") from None
