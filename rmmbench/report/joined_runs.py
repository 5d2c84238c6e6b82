"""Joins runs of one model and one machine."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rmmbench.errors import NotComparableError
from rmmbench.report.figures.figure import FigureData
from rmmbench.results.record import Environment, Record
from rmmbench.results.store import Run


def joined(runs: Sequence[Run]) -> FigureData:
    """Return the records of all runs; if several have a case, the last run's record counts.

    Figures that show runs beside each other find them in `runs`.

    Raises:
        NotComparableError: If their models, versions or machines differ.
    """
    if len(runs) == 1:
        return FigureData.of(runs[0])
    by_run = {run.path: run.records() for run in runs}
    _require_one("model", {p: {each.case.model for each in of} for p, of in by_run.items()})
    environment = _environment(runs[0].info.environment, by_run)
    records = [record for of in by_run.values() for record in of]
    data = FigureData.of_records(records, runs[0].info.profile, environment)
    parts = [
        FigureData.of_records(by_run[run.path], run.info.profile, run.info.environment)
        for run in runs
    ]
    return replace(data, runs=tuple(parts))


def _environment(first: Environment, by_run: Mapping[Path, Sequence[Record]]) -> Environment:
    """Return the environment that all numbers share; predictions depend on no machine."""
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
"""The fields of an environment on which times depend, by device; its name comes first."""


def _of(name: str, records: Sequence[Record], device: str | None = None) -> set[str]:
    """Return the values of a field in the environments of records with numbers from a device.

    Without a device, all numbers count. Builds of one torch version count as the same.
    """
    told = set()
    for record in records:
        devices = {part.device for part in (record.memory, record.timing) if part is not None}
        if devices and device in {None, *devices}:
            value = str(getattr(record.environment, name))
            told.add(value.partition("+")[0] if name == "torch" else value)
    return told


def _require_one(name: str, found: Mapping[Path, set[str]]) -> str | None:
    """Return the value that all runs share; None if none has any."""
    values = set[str]().union(*found.values())
    if len(values) > 1:
        told = "; ".join(f"{', '.join(sorted(of))} in {path}" for path, of in found.items() if of)
        hint = "draw each by itself"
        raise NotComparableError(f"runs must be of one {name} to be one figure, got {told}; {hint}")
    return next(iter(values), None)
