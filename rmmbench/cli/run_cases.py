"""What commands that run cases share: they plan, measure, and report tables and failures."""

import itertools
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import is_quiet, note, tell
from rmmbench.errors import Exit
from rmmbench.units import format_count

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rmmbench.cli.options import Device
    from rmmbench.results.record import Record
    from rmmbench.results.store import Run
    from rmmbench.running.events import Events
    from rmmbench.running.launchers.launcher import Launch, Machines
    from rmmbench.running.sweep_plan import Plan
    from rmmbench.spec.profile import Profile


@dataclass(frozen=True)
class Asked:
    """What to measure, and where its records go.

    Attributes:
        name: The profile's, as the user gave it.
        profile: With the command line's changes applied.
        device: From --device; by default the profile's.
        out: From --out; by default below runs/.
        folder: Name of the run directory below runs/; by default the profile's.
        trains: Whether models are trained.
        launch: What is asked of a launcher; by default cases run on this machine.
    """

    name: str
    profile: "Profile"
    device: "Device | None"
    out: Path | None
    folder: str = ""
    trains: bool = False
    launch: "Launch | None" = None

    @property
    def where(self) -> str:
        """The device, which may be "auto"."""
        return self.device or self.profile.device

    @property
    def path(self) -> Path:
        """The run directory."""
        from rmmbench.running.execution import run_path

        return self.out or run_path(self.folder or Path(self.name).stem, self.where)

    def begin(self, what: str) -> None:
        """Say what begins and where its records go, before torch is imported.

        Raises:
            UnknownNameError: If a model, method or sketch does not exist.
        """
        from rmmbench.running.sweep_plan import check_names

        check_names(self.profile.cases("predict", "cpu"))
        note(f"{what}: records go to {self.path}; loading torch")

    def machines(self) -> "AbstractContextManager[Machines]":
        """Give what measures, and leave it at the end."""
        from rmmbench.running.launchers.launcher import Launch

        return (self.launch or Launch()).machines()

    def plan(self, machines: "Machines", *, import_models: bool = True) -> "Plan":
        """Return the plan for what measures.

        Raises:
            UsageError: If a case cannot be measured here.
        """
        from rmmbench.running.sweep_plan import make_plan

        about = {"import_models": import_models, "trains": self.trains}
        plan = make_plan(self.profile, self.where, machines=machines, **about)
        if plan.left_out:
            note(f"{plan.left_out} timed cases are left out: a prediction has no time")
        return plan


def run_or_list(asked: Asked, *, retry: bool, dry_run: bool, as_json: bool) -> None:
    """Measure the cases, report them, and exit with code 7 if any failed; or only list them."""
    if dry_run:
        _list_cases(asked, as_json=as_json)
        return
    run = carry_out(asked, retry=retry)
    report(run, as_json=as_json)
    end(run)


def carry_out(asked: Asked, *, retry: bool = False) -> "Run":
    """Measure the cases that the run directory lacks, show the progress, and return the run.

    Args:
        asked: What to measure, and where to.
        retry: Measure failed cases again.

    Raises:
        RunError: If the directory is of other cases, in use, or cannot be written.
        Interrupted: By a signal; what was measured stays.
    """
    asked.begin(f"{asked.name} on {asked.where}")
    from rmmbench.running.events import Ahead
    from rmmbench.running.execution import execute, open_run

    total = 0

    def show(events: "Events") -> None:
        ahead = next(events)
        if isinstance(ahead, Ahead) and len(ahead.cases) < total:
            note(f"{asked.path} has {total - len(ahead.cases)} of {total} cases already")
        follow(itertools.chain([ahead], events))

    about = {"name": asked.name, "command": typed()}
    with asked.machines() as machines:
        plan = asked.plan(machines)
        total = len(plan.cases)
        run = open_run(asked.path, asked.profile, plan.cases, plan.environment, **about)
        execute(run, plan.cases, retry=retry, follow=show, machines=machines)
    return run


def follow(events: "Events", noun: str = "case") -> None:
    """Go through the events of a run, and show them unless --quiet."""
    from rmmbench.running.progress import show_nothing, show_progress

    (show_nothing if is_quiet() else show_progress)(events, noun)


def typed() -> str:
    """Return the command line as a person would type it again."""
    return shlex.join(["rmmbench", *sys.argv[1:]])


def end(run: "Run") -> None:
    """Exit with code 7 if any case failed."""
    if any(record.has_failed for record in run.records()):
        raise typer.Exit(Exit.SOME_FAILED)


def _list_cases(asked: Asked, *, as_json: bool) -> None:
    """Print the cases, a line each, or as JSON."""
    from rmmbench.spec.case_titles import case_titles

    with asked.machines() as machines:
        cases = asked.plan(machines, import_models=False).cases
    if as_json:
        write_json([{"key": each.key} | each.flat() for each in cases])
        return
    titles = case_titles(cases)
    for case in cases:
        print(f"{case.key}  {case.device:<11}  {titles[case.key]}")  # noqa: T201
    note(format_count(len(cases), "case"))


def tell_how_to_retry(records: "Iterable[Record]") -> None:
    """If any record is of a failed case, say how to measure it again."""
    count = sum(record.has_failed for record in records)
    if count:
        note(f"cases that failed: {count}; the same command with --retry measures them again")


def report(run: "Run", *, as_json: bool) -> None:
    """Print the records as a table or as JSON, and failures and warnings to stderr."""
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables import tables_of
    from rmmbench.results.tidy import read_rows
    from rmmbench.spec.case_titles import case_titles

    records = run.records()
    if as_json:
        write_json(read_rows(records))
    elif tables := tables_of(run).tables:
        print_tables(tables)
    titles = case_titles(record.case for record in records)
    for warning, keys in _warnings(records).items():
        of = titles[keys[0]] if len(keys) == 1 else format_count(len(keys), "case")
        note(f"warning: {of}: {warning}")
    failed = [record for record in records if record.outcome != "ok"]
    for record in failed:
        tell(f"{record.outcome}: {titles[record.key]}, while {record.stage}: {record.reason}")
    tell_how_to_retry(failed)
    path = shlex.quote(str(run.path))
    later = f"rmmbench check LATER --against {path}"
    note(f"records: {path}   next: rmmbench report {path}, rmmbench plot {path} or {later}")


def _warnings(records: "list[Record]") -> dict[str, list[str]]:
    """Return by warning the keys of the cases that have it."""
    keys: dict[str, list[str]] = {}
    for record in records:
        for warning in record.warnings:
            keys.setdefault(warning, []).append(record.key)
    return keys
