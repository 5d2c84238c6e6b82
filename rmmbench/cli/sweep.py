"""`rmmbench sweep`: measure a profile's grid."""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.errors import Exit, UsageError

if TYPE_CHECKING:
    from rmmbench.profile import Profile
    from rmmbench.record import Record
    from rmmbench.store import Run
    from rmmbench.sweep import Plan


def sweep(
    profile: Annotated[str, typer.Argument(help="A name of `rmmbench list profiles`, or a path.")],
    device: Annotated[
        str | None, typer.Option(help="cuda, cpu, predict or auto; the profile's if not given.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Measure this instead; repeat or separate by commas.")
    ] = None,
    batch_size: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    rho: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    sketch: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; runs/PROFILE-DEVICE if not given.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cases; run none.")] = False,
) -> None:
    """Measure memory and time over a grid of models, batch sizes, ρ and sketches.

    Each case runs in a process of its own and leaves a record in the run directory.

    The same command, run again, goes on where it stopped.

    Exit code 7 says that some cases failed.

    Examples:
      rmmbench sweep quick
      rmmbench sweep figure2 --device predict
      rmmbench sweep quick --model hf:gpt2 --rho 0.5,0.1 --out runs/gpt2
      rmmbench sweep my-profile.toml --dry-run
    """
    from rmmbench import profile as profiles
    from rmmbench.sweep import make_plan

    axes = {
        "model": _words(model),
        "batch_size": _numbers("--batch-size", batch_size, int),
        "rho": _numbers("--rho", rho, float),
        "sketch": _words(sketch),
        "method": _words(method),
    }
    chosen = profiles.load(profile).overridden(axes)
    device = device or chosen.device
    plan = make_plan(chosen, device)
    if plan.left_out:
        _tell(f"{plan.left_out} timed cases are left out: a prediction has no time")
    if dry_run:
        _list(plan)
        return
    path = out or Path("runs") / f"{Path(profile).stem}-{device}"
    run = _open(path, profile, chosen, plan)
    try:
        records = _measure(run, chosen, plan)
    except KeyboardInterrupt:
        kept = f"{len(run.records())} of {len(plan.cases)} cases are recorded in {path}"
        _tell(f"interrupted: {kept}; the same command goes on")
        raise typer.Exit(Exit.INTERRUPTED) from None
    _report(run, records)


def _words(given: list[str] | None) -> tuple[str, ...]:
    return tuple(word.strip() for text in given or () for word in text.split(",") if word.strip())


def _numbers(
    flag: str, given: list[str] | None, kind: type[int] | type[float]
) -> tuple[float, ...]:
    try:
        return tuple(kind(word) for word in _words(given))
    except ValueError:
        noun = "whole numbers" if kind is int else "numbers"
        raise UsageError(f"{flag} must be {noun}, got '{','.join(given or ())}'") from None


def _list(plan: "Plan") -> None:
    for case in plan.cases:
        print(f"{case.key}  {case.device:<11}  {case.model}  {case.shape}  {case.label}")  # noqa: T201
    _tell(f"{len(plan.cases)} cases")


def _open(path: Path, name: str, profile: "Profile", plan: "Plan") -> "Run":
    import rmmbench
    from rmmbench.profile import cases_hash
    from rmmbench.store import Run, RunInfo

    info = RunInfo(
        rmmbench=rmmbench.__version__,
        profile_name=name,
        profile=profile,
        profile_hash=cases_hash(plan.cases),
        environment=plan.environment,
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
            _tell(
                f"{run.path} has {len(plan.cases) - len(left)} of {len(plan.cases)} cases already"
            )
        launcher = LocalLauncher(
            plan.environment,
            time_limit_seconds=profile.time_limit_seconds,
            jobs=plan.environment.cpu_count,
        )
        show_progress(sweep(run, plan.cases, launcher), left)
        return run.records()


def _report(run: "Run", records: "list[Record]") -> None:
    from rmmbench.cli.table import show

    show(run)
    for record in records:
        for warning in record.warnings:
            _tell(
                f"warning: {record.case.model} {record.case.shape} {record.case.label}: {warning}"
            )
    failed = [record for record in records if record.outcome != "ok"]
    for record in failed:
        case = record.case
        where = f"{case.model} {case.shape} {case.label}"
        _tell(f"{record.outcome}: {where}, while {record.stage}: {record.reason}")
    _tell(f"records: {run.path}   figures: rmmbench plot {run.path}")
    # Out of memory is a result that was asked for, not a failure.
    if any(record.outcome != "out_of_memory" for record in failed):
        raise typer.Exit(Exit.SOME_FAILED)


def _tell(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 -- the command line prints
