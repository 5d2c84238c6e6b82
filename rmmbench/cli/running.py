"""How a plan is carried out: the run directory, the progress, the table, what failed."""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rmmbench.cli.telling import tell
from rmmbench.errors import Exit

if TYPE_CHECKING:
    from rmmbench.case import Case
    from rmmbench.profile import Profile
    from rmmbench.record import Environment, Record
    from rmmbench.store import Run
    from rmmbench.sweep import Plan


def carry_out(name: str, profile: "Profile", plan: "Plan", path: Path) -> "Run":
    """Measure what the run directory at `path` does not have yet, show all, and return it.

    Raises:
        RunError: If the directory is of other cases, in use, or cannot be written.
        Exit: (Typer's) If it was interrupted; what was measured stays.
    """
    run = open_run(path, name, profile, plan.cases, plan.environment)
    try:
        records = _measure(run, profile, plan)
    except KeyboardInterrupt:
        kept = f"{len(run.records())} of {len(plan.cases)} cases are recorded in {path}"
        tell(f"interrupted: {kept}; the same command goes on")
        raise typer.Exit(Exit.INTERRUPTED) from None
    _report(run, records)
    return run


def end(run: "Run") -> None:
    """Leave with the exit code of what failed, if anything did."""
    # Out of memory is a result that was asked for, and so is training that diverged. What is
    # skipped has nothing to tell on the device.
    if any(record.outcome not in _RESULTS for record in run.records()):
        raise typer.Exit(Exit.SOME_FAILED)


def list_cases(plan: "Plan") -> None:
    """Print the cases of a plan, a line each."""
    for case in plan.cases:
        print(f"{case.key}  {case.device:<11}  {case.title}")  # noqa: T201
    tell(f"{len(plan.cases)} cases")


_RESULTS = ("ok", "out_of_memory", "diverged", "skipped")


def open_run(
    path: Path, name: str, profile: "Profile", cases: "list[Case]", environment: "Environment"
) -> "Run":
    """Make the run directory of some cases, or open the one that is there.

    Raises:
        RunError: If it is of other cases, or cannot be written.
    """
    import rmmbench
    from rmmbench.profile import cases_hash
    from rmmbench.store import Run, RunInfo

    info = RunInfo(
        rmmbench=rmmbench.__version__,
        profile_name=name,
        profile=profile,
        profile_hash=cases_hash(cases),
        environment=environment,
        command=shlex.join(["rmmbench", *sys.argv[1:]]),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Run.create(path, info)


def _measure(run: "Run", profile: "Profile", plan: "Plan") -> "list[Record]":
    from rmmbench.cli.progress import show_progress
    from rmmbench.sweep import remaining, sweep
    from rmmbench.sweep.local import LocalLauncher

    with run.locked():
        left = remaining(run, plan.cases)
        if len(left) < len(plan.cases):
            tell(f"{run.path} has {len(plan.cases) - len(left)} of {len(plan.cases)} cases already")
        launcher = LocalLauncher(
            plan.environment,
            time_limit_seconds=profile.time_limit_seconds,
            jobs=plan.environment.cpu_count,
            folder=run.path,
        )
        show_progress(sweep(run, plan.cases, launcher), left)
        return run.records()


def _report(run: "Run", records: "list[Record]") -> None:
    from rmmbench.cli.table import show

    show(run)
    for warning, titles in _warnings(records).items():
        of = titles[0] if len(titles) == 1 else f"{len(titles)} cases"
        tell(f"warning: {of}: {warning}")
    failed = [record for record in records if record.outcome != "ok"]
    for record in failed:
        tell(f"{record.outcome}: {record.case.title}, while {record.stage}: {record.reason}")
    tell(f"records: {run.path}   figures: rmmbench plot {run.path}")


def _warnings(records: "list[Record]") -> dict[str, list[str]]:
    """Return the titles of the cases that each warning is of."""
    titles: dict[str, list[str]] = {}
    for record in records:
        for warning in record.warnings:
            titles.setdefault(warning, []).append(record.case.title)
    return titles
