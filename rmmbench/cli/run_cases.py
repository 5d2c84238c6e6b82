"""How a plan is carried out: the run directory, the progress, the table, what failed."""

import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import tell
from rmmbench.errors import Exit, Interrupted
from rmmbench.running.interrupts import deferred

if TYPE_CHECKING:
    from rmmbench.results.record import Environment, Record
    from rmmbench.results.store import Run
    from rmmbench.running.plan import Plan
    from rmmbench.spec.case import Case
    from rmmbench.spec.profile import Profile


def carry_out(
    name: str,
    profile: "Profile",
    plan: "Plan",
    path: Path,
    *,
    retry: bool = False,
    as_json: bool = False,
) -> "Run":
    """Measure what the run directory at `path` does not have yet, show all, and return it.

    Args:
        name: The profile's, as it was asked for.
        profile: With the command line's changes in it.
        plan: Of the profile.
        path: The run directory.
        retry: Measure cases anew that failed.
        as_json: Show the rows as JSON, for machines.

    Raises:
        RunError: If the directory is of other cases, in use, or cannot be written.
        Interrupted: By a signal; what was measured stays.
    """
    run = open_run(path, name, profile, plan.cases, plan.environment)
    with telling_what_is_kept(run, f"of {len(plan.cases)} cases"):
        records = _measure(run, profile, plan, retry=retry)
    _report(run, records, as_json=as_json)
    return run


@contextmanager
def telling_what_is_kept(run: "Run", what: str) -> Iterator[None]:
    """Hold the run directory; where measuring ends before its end, say how many records it has.

    Raises:
        RunError: If the directory is in use, or cannot be written.
        EndedError: If no process can be started.
        Interrupted: By a signal.
    """
    from rmmbench.running.fork_server import EndedError

    def kept() -> str:
        return f"{len(run.records())} {what} are recorded in {run.path}; the same command goes on"

    try:
        with run.locked(), deferred():
            yield
    except Interrupted as error:
        raise Interrupted(error.number, kept()) from None
    except EndedError as error:
        raise EndedError(f"{error}; {kept()}") from None


def end(run: "Run") -> None:
    """Leave with the exit code of what failed, if anything did."""
    if any(record.has_failed for record in run.records()):
        raise typer.Exit(Exit.SOME_FAILED)


def list_cases(plan: "Plan", *, as_json: bool = False) -> None:
    """Print the cases of a plan, a line each, or as JSON."""
    if as_json:
        write_json([{"key": each.key} | each.model_dump(mode="json") for each in plan.cases])
        return
    for case in plan.cases:
        print(f"{case.key}  {case.device:<11}  {case.title}")  # noqa: T201
    tell(f"{len(plan.cases)} cases")


def tell_how_to_retry(records: "Iterable[Record]") -> None:
    """Say, if any of the records is of a case that failed, how to measure it again."""
    count = sum(record.has_failed for record in records)
    if count:
        tell(f"cases that failed: {count}; the same command with --retry measures them again")


def open_run(
    path: Path, name: str, profile: "Profile", cases: "list[Case]", environment: "Environment"
) -> "Run":
    """Make the run directory of some cases, or open the one that is there.

    Raises:
        RunError: If it is of other cases, or cannot be written.
    """
    import rmmbench
    from rmmbench.results.store import Run, RunInfo, hashes

    info = RunInfo(
        rmmbench=rmmbench.__version__,
        profile_name=name,
        profile=profile,
        environment=environment,
        command=shlex.join(["rmmbench", *sys.argv[1:]]),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **hashes(cases),
    )
    return Run.create(path, info)


def _measure(run: "Run", profile: "Profile", plan: "Plan", *, retry: bool) -> "list[Record]":
    from rmmbench.cli.progress import show_progress
    from rmmbench.running.local import LocalLauncher
    from rmmbench.running.sweeping import remaining, sweep

    left = remaining(run, plan.cases, retry=retry)
    if len(left) < len(plan.cases):
        tell(f"{run.path} has {len(plan.cases) - len(left)} of {len(plan.cases)} cases already")
    launcher = LocalLauncher(
        plan.environment,
        time_limit_seconds=profile.time_limit_seconds,
        jobs=plan.environment.cpu_count,
        folder=run.path,
    )
    show_progress(sweep(run, plan.cases, launcher, retry=retry), left)
    return run.records()


def _report(run: "Run", records: "list[Record]", *, as_json: bool) -> None:
    from rmmbench.cli.table_command import show
    from rmmbench.results.tidy import read_rows

    if as_json:
        write_json(read_rows(records))
    else:
        show(run)
    for warning, titles in _warnings(records).items():
        of = titles[0] if len(titles) == 1 else f"{len(titles)} cases"
        tell(f"warning: {of}: {warning}")
    failed = [record for record in records if record.outcome != "ok"]
    for record in failed:
        tell(f"{record.outcome}: {record.case.title}, while {record.stage}: {record.reason}")
    tell_how_to_retry(failed)
    tell(f"records: {run.path}   figures: rmmbench plot {run.path}")


def _warnings(records: "list[Record]") -> dict[str, list[str]]:
    """Return the titles of the cases that each warning is of."""
    titles: dict[str, list[str]] = {}
    for record in records:
        for warning in record.warnings:
            titles.setdefault(warning, []).append(record.case.title)
    return titles
