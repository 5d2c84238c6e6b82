"""Several runs of one model and one machine, read as one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rmmbench.errors import NotComparableError
from rmmbench.report.figures.figure import FigureData
from rmmbench.results.record import Environment, Record
from rmmbench.results.store import Run
from rmmbench.results.tidy import read_rows


def joined(runs: Sequence[Run]) -> FigureData:
    """Return what the runs have together; of a case in several, the last run's record.

    Raises:
        NotComparableError: If they are of several models, versions or machines.
    """
    if len(runs) == 1:
        return FigureData.of(runs[0])
    by_run = {run.path: run.records() for run in runs}
    _require_one("model", {p: {each.case.model for each in of} for p, of in by_run.items()})
    environment = _environment(runs[0].info.environment, by_run)
    records = [record for of in by_run.values() for record in of]
    synthetic = "; ".join(dict.fromkeys(filter(None, (record.synthetic for record in records))))
    latest = tuple({record.key: record for record in records}.values())
    return FigureData(
        tuple(read_rows(records)), runs[0].info.profile, environment, synthetic, latest
    )


def _environment(first: Environment, by_run: Mapping[Path, Sequence[Record]]) -> Environment:
    """Return the versions and the machine of all numbers; a prediction is of no machine."""
    for name in ("torch", "transformers"):
        _require_one(name, {p: _of(name, of) for p, of in by_run.items()})
    machine: dict[str, str] = {}
    for device, names in _MACHINE.items():
        for name in names:
            value = _require_one(name, {p: _of(name, of, device) for p, of in by_run.items()})
            if value is not None and name == names[0]:
                machine[name] = value
    return first.model_copy(update=machine)


_MACHINE = {"cpu": ("processor", "torch_threads"), "cuda": ("gpu", "driver")}
"""By device what its times are of: its name first."""


def _of(name: str, records: Sequence[Record], device: str | None = None) -> set[str]:
    """Return what the records with a number, or one measured on a device, say of their machine.

    Builds of one torch version count as the same.
    """
    told = set()
    for record in records:
        devices = {part.device for part in (record.memory, record.timing) if part is not None}
        if devices and device in {None, *devices}:
            value = str(getattr(record.environment, name))
            told.add(value.partition("+")[0] if name == "torch" else value)
    return told


def _require_one(name: str, found: Mapping[Path, set[str]]) -> str | None:
    """Return what the runs agree on, None if none says anything."""
    values = set[str]().union(*found.values())
    if len(values) > 1:
        told = "; ".join(f"{', '.join(sorted(of))} in {path}" for path, of in found.items() if of)
        hint = "draw each by itself"
        raise NotComparableError(f"runs must be of one {name} to be one figure, got {told}; {hint}")
    return next(iter(values), None)
