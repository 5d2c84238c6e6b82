"""How a run is told: where it goes, its table, what failed and how to go on."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import tell
from rmmbench.errors import Exit

if TYPE_CHECKING:
    from rmmbench.results.record import Record
    from rmmbench.results.store import Run
    from rmmbench.running.events import Event
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
    from rmmbench.running.execution import execute, open_run
    from rmmbench.running.progress import show_progress

    def follow(events: "Iterator[Event]", left: "Sequence[Case]") -> None:
        total = len(plan.cases)
        if len(left) < total:
            tell(f"{path} has {total - len(left)} of {total} cases already")
        show_progress(events, left)

    run = open_run(path, profile, plan.cases, plan.environment, name=name, command=typed())
    execute(run, plan.cases, retry=retry, follow=follow)
    _report(run, as_json=as_json)
    return run


def typed() -> str:
    """Return the command line as a person would type it again."""
    return shlex.join(["rmmbench", *sys.argv[1:]])


def end(run: "Run") -> None:
    """Leave with the exit code of what failed, if anything did."""
    if any(record.has_failed for record in run.records()):
        raise typer.Exit(Exit.SOME_FAILED)


def list_cases(plan: "Plan", *, as_json: bool = False) -> None:
    """Print the cases of a plan, a line each, or as JSON."""
    if as_json:
        write_json([{"key": each.key} | each.flat() for each in plan.cases])
        return
    for case in plan.cases:
        print(f"{case.key}  {case.device:<11}  {case.title}")  # noqa: T201
    tell(f"{len(plan.cases)} cases")


def tell_how_to_retry(records: "Iterable[Record]") -> None:
    """Say, if any of the records is of a case that failed, how to measure it again."""
    count = sum(record.has_failed for record in records)
    if count:
        tell(f"cases that failed: {count}; the same command with --retry measures them again")


def _report(run: "Run", *, as_json: bool) -> None:
    from rmmbench.cli.table_command import show
    from rmmbench.results.tidy import read_rows

    records = run.records()
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
