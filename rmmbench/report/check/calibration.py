"""How much runs of one code differ: further runs of the same cases, kept beside a run's records."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from rmmbench.errors import RunError
from rmmbench.report.check import wording
from rmmbench.report.check.evidence import detectable, spread
from rmmbench.results import paired
from rmmbench.results.migration import former_key
from rmmbench.results.reading import content_of
from rmmbench.results.record import Record
from rmmbench.results.timing import Timing
from rmmbench.results.whole_file import write_whole
from rmmbench.spec.case import Case
from rmmbench.spec.ranges import Line, Measured
from rmmbench.spec.strict import Strict
from rmmbench.units import format_percent

SCHEMA_VERSION: Final = 2
CALIBRATION_FILE: Final = "calibration.json"


class CalibrationRun(Strict):
    """One more run.

    Attributes:
        records: The path of its records, relative to the parent of the run directory.
        relative_throughput: Of each case that has one, by case key.
    """

    records: Line
    relative_throughput: dict[str, Measured]


class Calibration(Strict):
    """Further runs of the code that a run directory measured."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    runs: tuple[CalibrationRun, ...] = ()

    def logarithms(self, case: Case) -> list[float]:
        """Return the logarithms of a case's relative throughput, one per run that has it."""
        if not self.runs:
            return []
        key = case.key if self.schema_version == SCHEMA_VERSION else former_key(case)
        found = (run.relative_throughput.get(key) for run in self.runs)
        return [math.log(value) for value in found if value is not None]


NONE: Final = Calibration()


def measured(timing: Timing | None) -> paired.Median | None:
    """Return the relative throughput of a case with its interval; None for exact, or if unknown."""
    if timing is None or timing.relative_throughput is None or not timing.reference_step_seconds:
        return None
    ends = timing.relative_throughput_low, timing.relative_throughput_high
    return paired.Median(timing.relative_throughput, *ends, count=len(timing.step_seconds))


def run_of(path: Path, records: Iterable[Record]) -> CalibrationRun:
    """Return the entry of one more run, whose records are at `path`."""
    found = {record.key: measured(record.timing) for record in records if record.outcome == "ok"}
    values = {key: median.value for key, median in found.items() if median is not None}
    return CalibrationRun(records=str(path), relative_throughput=values)


def summary(records: Iterable[Record], calibration: Calibration) -> Iterator[str]:
    """Yield a line per case: how much its runs differ, and which fall another run would show."""
    ok = {record.key: record for record in records if record.outcome == "ok"}
    own = run_of(Path(), ok.values()).relative_throughput
    for key, value in own.items():
        values = [math.log(value), *calibration.logarithms(ok[key].case)]
        if len(values) > 1:
            differ, fall = math.expm1(spread(values)), detectable(values, len(own))
            yield (
                f"{wording.name(ok[key].case)}: {len(values)} runs differ by "
                f"{format_percent(differ)}; a fall of {format_percent(fall)} would be found"
            )


def read(folder: Path) -> Calibration:
    """Return the calibration of a run directory; `NONE` if it has none.

    Raises:
        RunError: If the file is not a calibration.
    """
    file = folder / CALIBRATION_FILE
    content = content_of(file)
    if content is None:
        return NONE
    try:
        return Calibration.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        hint = f"remove it, and make it anew with `rmmbench check {folder} --calibrate 10`"
        raise RunError(f"{file} must be a calibration: {fault}; {hint}") from None


def drop(folder: Path) -> None:
    """Delete the calibration of a run directory, whose records are about to be replaced."""
    (folder / CALIBRATION_FILE).unlink(missing_ok=True)


def copy(source: Path, folder: Path) -> None:
    """Copy the calibration, if any, of one run directory to another."""
    if (source / CALIBRATION_FILE).exists():
        write(folder, read(source))


def write(folder: Path, calibration: Calibration) -> None:
    """Write the calibration of a run directory; replace the one that is there.

    Raises:
        RunError: If the file cannot be written.
    """
    file = folder / CALIBRATION_FILE
    try:
        write_whole(file, calibration.model_dump_json(indent=2).encode() + b"\n")
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}; free space") from error
