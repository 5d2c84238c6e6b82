"""What `rmmbench check` measures itself: two codes in turn, or the same code several times."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rmmbench.cli.telling import is_quiet, note
from rmmbench.errors import UsageError
from rmmbench.running.interrupts import keeping

if TYPE_CHECKING:
    from rmmbench.report.check.compare import Tolerances
    from rmmbench.report.check.report import Report
    from rmmbench.results.record import Record
    from rmmbench.results.store import Run
    from rmmbench.running.installations import Code
    from rmmbench.running.pieces import Piece
    from rmmbench.running.progress import Progress

_STARTING = 6.0
"""Seconds that a sweep takes to begin, about."""


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

    from rmmbench.report.check.rerun import Side, rerun, runs_left, undecided
    from rmmbench.running.installations import Code, arguments

    arguments(run)
    ends_at = time.monotonic() + 60 * minutes
    with _code(other) as code, _measuring(run, "rerun") as again:
        codes: dict[Side, Code] = {"baseline": code, "candidate": Code()}

        def measure(side: Side) -> "list[Record]":
            return again.measure(codes[side], f"-{side}").records()

        again.expect(4, at_most=60 * minutes)
        for report in rerun(measure, tolerances, 60 * minutes):
            left = undecided(report)
            state = f"{left} of {len(report.cases)} cases undecided" if left else "decided"
            note(f"{len(again.names)} runs in {again.folder}: {state}")
            again.expect(runs_left(report, len(again.names)), at_most=ends_at - time.monotonic())
        again.expect(0)
    note(f"every run is kept: rmmbench table {again.folder / again.names[0]}")
    return replace(report, run=str(run.path), baseline=other)


def calibrate(run: "Run", count: int) -> None:
    """Measure a run's cases `count` times more, and store in it how much the runs differ.

    Raises:
        UsageError: If `run` is not of a sweep, or has no relative throughput.
        NotComparableError: If the code or the machine is not the run's.
    """
    from rmmbench.report.check import calibration
    from rmmbench.report.check.runs import require_same_code
    from rmmbench.running.installations import Code

    if not calibration.run_of(run.path, run.records()).relative_throughput:
        raise UsageError(f"{run.path} has no relative throughput, and so nothing that varies")
    known = calibration.read(run.path)
    with _measuring(run, "calibration", count) as again:
        again.expect(count)
        for number in range(1, count + 1):
            measured = again.measure(Code())
            require_same_code(run, measured)
            place = measured.path.relative_to(again.folder.resolve().parents[1])
            more = calibration.run_of(place, measured.records())
            known = calibration.Calibration(runs=(*known.runs, more))
            calibration.write(run.path, known)
            note(f"{number} of {count} runs are in {again.folder}")
    for line in calibration.summary(run.records(), known):
        typer.echo(line)
    note(f"stored in {run.path}; it counts from now on: rmmbench check RUN --against {run.path}")


@dataclass
class _Again:
    """Sweeps that are measured again, one after the other, and how far they are."""

    run: "Run"
    folder: Path
    progress: "Progress"
    names: list[str] = field(default_factory=list)

    def expect(self, runs: int, *, at_most: float | None = None) -> None:
        """Tell how many more runs there are, with the most seconds if that is only a guess."""
        pieces = [_piece()] * runs
        self.progress.expect(pieces, is_known=at_most is None, at_most=at_most)

    def measure(self, code: "Code", side: str = "") -> "Run":
        """Measure the cases once more with some code, and return the new run."""
        from rmmbench.running.installations import sweep_again

        name, start = f"{len(self.names) + 1:03}{side}", time.monotonic()
        # A case that was slow is so again.
        costs = {record.key: record.wall_seconds for record in self.run.records()}
        whole = sum(costs.values()) or 1.0

        def heard(records: "Sequence[Record]") -> None:
            done = sum(costs.get(record.key, 0.0) for record in records)
            said = f"{name}: {len(records)} of {len(costs)} cases"
            self.progress.working(said, {name: done / whole})

        self.progress.begin(name, _piece())
        heard(())
        measured = sweep_again(self.run, code, self.folder / name, heard)
        self.progress.finish(name, _piece(), time.monotonic() - start, name)
        self.names.append(name)
        return measured


def _piece() -> "Piece":
    from rmmbench.running.pieces import Kind, Piece

    return Piece((Kind("run"),))


@contextmanager
def _measuring(run: "Run", purpose: str, count: int | None = None) -> "Iterator[_Again]":
    """Give what measures a run again; an interrupt says what is kept, and how to go on."""
    from rmmbench.running.progress import progress

    folder = _new_folder(run, purpose)
    note(f"measuring again what {run.path} measured; runs go to {folder}")
    with progress("run", quiet=is_quiet()) as shown:
        shown.learn(_piece(), _STARTING + sum(each.wall_seconds for each in run.records()))
        again = _Again(run, folder, shown)
        with keeping(lambda: _kept(again, count)):
            yield again


def _kept(again: _Again, count: int | None) -> str:
    """Return what is kept of an interrupted check, and how to go on."""
    done, path = len(again.names), again.run.path
    if not done:
        return "no run had ended, and nothing is kept; the same command begins anew"
    if count is not None:
        told = f"{done} of {count} runs are stored in {path}"
        return f"{told}; `rmmbench check {path} --calibrate {count - done}` goes on"
    told = f"the runs that ended are kept in {again.folder}; the same command begins anew"
    if done < 2:
        return told
    before, now = sorted(again.names[:2], key=lambda name: "candidate" in name)
    place = again.folder
    return f"{told}, `rmmbench check {place / now} --against {place / before}` compares two of them"


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
