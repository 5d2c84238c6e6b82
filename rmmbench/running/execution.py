"""Carries out a plan: makes the run directory, locks it, and fills it with records."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import rmmbench
from rmmbench.results.record import Environment
from rmmbench.results.store import Run, RunInfo, hashes
from rmmbench.running.events import Events
from rmmbench.running.interrupts import deferred, keeping
from rmmbench.running.isolation.fork_server import EndedError
from rmmbench.running.launchers.launcher import Launch, Machines
from rmmbench.running.progress import show_progress
from rmmbench.running.sweeping import sweep
from rmmbench.spec.case import Case
from rmmbench.spec.profile import Profile

Follow = Callable[[Events], None]
"""Called with the events of a run, which it goes through to the end."""


def open_run(
    path: Path,
    profile: Profile,
    cases: Sequence[Case],
    environment: Environment,
    *,
    name: str,
    command: str,
) -> Run:
    """Make the run directory for some cases, or open the one that is there.

    Args:
        path: The directory.
        profile: With all changes applied.
        cases: What the run measures.
        environment: The machine that measures.
        name: The profile's name, as the user gave it.
        command: The command line, for run.json.

    Raises:
        RunError: If the directory holds other cases, or cannot be written.
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
    """Return the default run directory: runs/NAME-DEVICE."""
    plain = re.sub(r"[:/\s]+", "-", name)
    return Path("runs") / f"{plain}-{device}"


def execute(
    run: Run,
    cases: Sequence[Case],
    *,
    retry: bool = False,
    follow: Follow = show_progress,
    machines: Machines | None = None,
) -> None:
    """Measure the cases that the run directory does not have yet; records stay whatever happens.

    Args:
        run: From `open_run`.
        cases: All cases of the run.
        retry: Measure failed cases again.
        follow: Goes through the events; by default shows them as bars or lines on stderr.
        machines: What measures; by default this machine.

    Raises:
        RunError: If the directory is in use, or cannot be written.
        EndedError: If no process can be started.
        Interrupted: By a signal; the message says what is kept.
    """
    with holding(run, f"of {len(cases)} cases"), on(machines) as here:
        follow(sweep(run, cases, here.launcher(run), retry=retry))


@contextmanager
def on(machines: Machines | None) -> Iterator[Machines]:
    """Give the machines, or this machine if there are none."""
    if machines is not None:
        yield machines
    else:
        with Launch().machines() as here:
            yield here


@contextmanager
def holding(run: Run, what: str) -> Iterator[None]:
    """Lock the run directory; an error that ends measuring early says how many records there are.

    Args:
        run: No other process can write to it within.
        what: Follows the number of records: "of 8 cases".

    Raises:
        RunError: If the directory is in use, or cannot be written.
        EndedError: If no process can be started.
        Interrupted: By a signal.
    """

    def kept() -> str:
        count = len(run.records())
        # "1 probe is", and "1 of 4 cases is".
        one = what if what.startswith("of ") else what.removesuffix("s")
        told = f"{one} is" if count == 1 else f"{what} are"
        return f"{count} {told} recorded in {run.path}; the same command goes on"

    try:
        with keeping(kept), run.locked(), deferred():
            yield
    except EndedError as error:
        raise EndedError(f"{error}; {kept()}") from None
