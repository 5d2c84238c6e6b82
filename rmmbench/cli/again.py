"""What `rmmbench check` measures itself: two codes in turn, or the same code several times."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rmmbench.cli.telling import note
from rmmbench.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from rmmbench.report.check.compare import Tolerances
    from rmmbench.report.check.report import Report
    from rmmbench.results.record import Record
    from rmmbench.results.store import Run
    from rmmbench.running.installations import Code


def compare_in_turn(run: "Run", other: str, tolerances: "Tolerances", minutes: float) -> "Report":
    """Measure a run's cases with the code here and another code in turn, and return the report.

    Args:
        run: Written by a sweep.
        other: The baseline's code: the Python of an installation, or a git revision.
        tolerances: How much worse a case may become.
        minutes: Limit for all runs; the first four are always measured.

    Raises:
        UsageError: If `other` is neither, or `run` is not of a sweep.
        RunError: If a sweep ends without records.
    """
    from dataclasses import replace

    from rmmbench.report.check.rerun import Side, rerun, undecided
    from rmmbench.running.installations import Code, arguments, sweep_again

    arguments(run)
    folder = _new_folder(run, "rerun")
    with _code(other) as code, _kept(folder):
        codes: dict[Side, Code] = {"baseline": code, "candidate": Code()}
        count = 0

        def measure(side: Side) -> "list[Record]":
            nonlocal count
            count += 1
            return sweep_again(run, codes[side], folder / f"{count:03}-{side}").records()

        for report in rerun(measure, tolerances, 60 * minutes):
            left = undecided(report)
            state = f"{left} of {len(report.cases)} cases undecided" if left else "decided"
            note(f"{count} runs in {folder}: {state}")
    return replace(report, run=str(run.path), baseline=other)


def calibrate(run: "Run", count: int) -> None:
    """Measure a run's cases `count` times more, and store in it how much the runs differ.

    Raises:
        UsageError: If `run` is not of a sweep, or has no relative throughput.
        NotComparableError: If the code or the machine is not the run's.
    """
    from rmmbench.report.check import calibration
    from rmmbench.report.check.runs import require_same_code
    from rmmbench.running.installations import Code, sweep_again

    if not calibration.run_of(run.path, run.records()).relative_throughput:
        raise UsageError(f"{run.path} has no relative throughput, and so nothing that varies")
    known = calibration.read(run.path)
    folder = _new_folder(run, "calibration")
    with _kept(folder):
        for number in range(1, count + 1):
            again = sweep_again(run, Code(), folder / f"{number:03}")
            require_same_code(run, again)
            place = again.path.relative_to(folder.resolve().parents[1])
            more = calibration.run_of(place, again.records())
            known = calibration.Calibration(runs=(*known.runs, more))
            calibration.write(run.path, known)
            note(f"{number} of {count} runs are in {folder}")
    for line in calibration.summary(run.records(), known):
        typer.echo(line)


@contextmanager
def _code(other: str) -> "Iterator[Code]":
    from rmmbench.running.installations import Code, revision

    python = Path(other)
    if python.is_file():
        if not os.access(python, os.X_OK):
            raise UsageError(f"--rerun must be a Python or a git revision, got the file {other}")
        # The link to Python names its virtual environment, so it must not be resolved.
        yield Code(python=str(python.absolute()))
    else:
        with revision(other, Path.cwd()) as code:
            yield code


def _new_folder(run: "Run", purpose: str) -> Path:
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    path = run.path if run.path.name not in ("", "..") else run.path.resolve()
    return path.with_name(f"{path.name}-{purpose}") / stamp


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Add to an interrupt's message where the finished runs are."""
    try:
        yield
    except Interrupted as error:
        kept = f"the runs that ended are kept in {folder}"
        raise Interrupted(error.number, kept) from None
