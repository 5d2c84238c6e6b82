"""`rmmbench check`: did memory or speed get worse than in the baseline?"""

import sys
from collections.abc import Collection
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmmbench.cli import completing
from rmmbench.cli.options import AsJson, RunPath
from rmmbench.cli.streams import write_data, write_file
from rmmbench.cli.telling import is_quiet, note, tell
from rmmbench.errors import NoBaselineError, RmmbenchError, UsageError

if TYPE_CHECKING:
    from rmmbench.report.check.compare import Tolerances
    from rmmbench.report.check.report import Report
    from rmmbench.results.store import Run


# Typer takes no list of a Literal.
MayDiffer = StrEnum("MayDiffer", ("gpu", "torch", "profile", "processor", "threads"))


def _option(metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=text, **more)


def _flag(name: str, text: str) -> Any:
    return typer.Option(name, help=text)


def check(
    run: RunPath,
    against: Annotated[
        str | None,
        _option(
            "BASELINE",
            "A run directory, or the name of a baseline that rmmbench ships.",
            autocompletion=completing.baselines,
        ),
    ] = None,
    rerun: Annotated[
        str | None,
        _option(
            "REVISION|PYTHON",
            "Measure RUN's cases again, in turn with the code here and that of a git revision or "
            "of another installation.",
        ),
    ] = None,
    max_minutes: Annotated[float, _option("MINUTES", "How long --rerun may take.", min=0.0)] = 60.0,
    calibrate: Annotated[
        int | None,
        _option(
            "N", "Measure RUN's cases N times more, and store in RUN how much runs differ.", min=1
        ),
    ] = None,
    memory_tolerance: Annotated[
        str, _option("PERCENT", "How much memory may rise; measured memory always by 2 MiB.")
    ] = "1%",
    throughput_tolerance: Annotated[
        str, _option("PERCENT", "The fall in throughput to detect.")
    ] = "5%",
    strict: Annotated[bool, _flag("--strict", "Fail if there is not enough evidence.")] = False,
    allow: Annotated[
        list[MayDiffer] | None,
        _option("|".join(MayDiffer), "Compare even if this differs; repeatable."),
    ] = None,
    save: Annotated[bool, _flag("--save", "Make RUN the baseline, even if it is worse.")] = False,
    every: Annotated[bool, _flag("--all", "Show every case, not only those that changed.")] = False,
    junit: Annotated[str | None, _option("PATH", "Write JUnit XML; - is stdout.")] = None,
    markdown: Annotated[str | None, _option("PATH", "Write Markdown; - is stdout.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a run with a baseline; fail if memory or relative throughput got worse.

    Runs of the same code differ in speed by several percent. Two records alone show only large
    changes; --calibrate measures how much runs of the baseline differ, and --rerun measures both
    codes in turn until the answer is clear. One in a hundred checks of unchanged code may fail.

    Under GitHub Actions, also annotate the commit and add to the summary of the step.

    The table goes to stderr if something else is written to stdout.

    Exit codes:
      0 fine
      3 a case regressed, failed or is missing
      4 some cases are not comparable; or not enough evidence, with --strict
      5 not comparable
      6 no baseline

    Examples:
      rmmbench check runs/ci --against ci
      rmmbench check runs/ci --against main --junit check.xml
      rmmbench check runs/ci --against main --json > check.json
      rmmbench check runs/ci --against main --allow torch
      rmmbench check runs/ci --against main --save
      rmmbench check baselines/main --calibrate 10
      rmmbench check runs/quick --rerun HEAD~1 --max-minutes 30
      rmmbench check runs/quick --rerun ../released/bin/python
    """
    from rmmbench.cli import again
    from rmmbench.results.store import Run

    _exactly_one(against=against, rerun=rerun, calibrate=calibrate)
    if save and against is None:
        raise UsageError("--save makes RUN the baseline that --against names; give --against")
    tolerances = _tolerances(memory_tolerance, throughput_tolerance)
    files = _files(junit=junit, markdown=markdown, json="-" if as_json else None)
    measured = Run.open(run)
    report = None
    if against is not None:
        report = _compared(measured, against, tolerances, allow or (), save)
    if calibrate is not None:
        again.calibrate(measured, calibrate)
    if rerun is not None:
        report = again.compare_in_turn(measured, rerun, tolerances, max_minutes)
    if report:
        _tell(replace(report, strict=strict), files, every=every, is_verdict=not save)
    if save and against is not None:
        _save(measured, against)


def _tolerances(memory: str, throughput: str) -> "Tolerances":
    from rmmbench.report.check.compare import Tolerances

    return Tolerances(
        memory=_fraction("--memory-tolerance", memory),
        throughput=_fraction("--throughput-tolerance", throughput),
    )


def _compared(
    run: "Run", against: str, tolerances: "Tolerances", allow: Collection[str], save: bool
) -> "Report | None":
    """Return the report; if RUN is to be saved and cannot be compared, say why and return None."""
    from rmmbench.report.check import baseline as baselines
    from rmmbench.report.check.runs import compare_runs

    try:
        baseline = baselines.open_baseline(baselines.find(against))
        return compare_runs(baseline, run, tolerances, allow=allow)
    except RmmbenchError as error:
        if not save:
            raise
        if not isinstance(error, NoBaselineError):
            tell(f"not compared: {error}")
        return None


def _save(run: "Run", against: str) -> None:
    from rmmbench.report.check import baseline as baselines

    path = baselines.find(against)
    baselines.save(run, path)
    records = run.records()
    if failed := sum(record.outcome != "ok" for record in records):
        what = f"{failed} of {len(records)} cases of {run.path} are not ok"
        tell(f"warning: {what}; the baseline now expects them to fail")
    note(f"{run.path} is now the baseline {path}")


def _exactly_one(**modes: object) -> None:
    given = [f"--{name}" for name, value in modes.items() if value is not None]
    if len(given) != 1:
        every = "--against BASELINE, --rerun REVISION|PYTHON or --calibrate N"
        raise UsageError(f"check needs one of {every}, got {' and '.join(given) or 'none'}")


def _files(**paths: str | None) -> dict[str, str]:
    """Return the requested files by format."""
    files = {name: path for name, path in paths.items() if path is not None}
    if list(files.values()).count("-") > 1:
        raise UsageError("only one of --junit -, --markdown - and --json can have stdout")
    return files


def _fraction(flag: str, text: str) -> float:
    from rmmbench.units import parse_fraction

    try:
        return parse_fraction(text)
    except ValueError as error:
        raise UsageError(f"{flag} {error}") from None


def _tell(report: "Report", files: dict[str, str], *, every: bool, is_verdict: bool) -> None:
    """Write the requested files and the table; only one of them goes to stdout.

    A verdict also goes to GitHub, and ends the command.
    """
    from rmmbench.cli.drawn import WIDER, console_of
    from rmmbench.cli.drawn_report import drawn_report
    from rmmbench.report.check import WRITERS, github
    from rmmbench.report.check.wording import failure

    stream = sys.stderr if "-" in files.values() else sys.stdout
    if stream is sys.stdout or not is_quiet():
        console = console_of(stream, WIDER)
        console.print(drawn_report(report, console.width, every=every), crop=False)
    for name, path in files.items():
        text = WRITERS.get(name)(report)
        if path == "-":
            write_data([text.encode()])
        else:
            write_file(Path(path), [text.encode()], f"--{name}")
    if not is_verdict:
        return
    # The verdict counts even if GitHub's files cannot be written.
    if unwritten := github.tell(report, stream):
        tell(f"warning: {unwritten}")
    if report.exit_code:
        tell(f"error: {failure(report)}")
        raise typer.Exit(report.exit_code)
