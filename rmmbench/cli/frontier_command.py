"""`rmmbench frontier`: every way of saving memory in one table and one figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmmbench.cli.figure_files import chosen_format, figure_paths
from rmmbench.cli.options import AsJson, FigureFormats, Out, RunPaths
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import note, tell
from rmmbench.errors import NotComparableError, UsageError

if TYPE_CHECKING:
    from rmmbench.report.figures import FigureData
    from rmmbench.report.tables import Table
    from rmmbench.results.record import Environment, Record
    from rmmbench.results.store import Run

FIGURE = "frontier"


def frontier(
    runs: RunPaths,
    file_format: FigureFormats = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Compare every way of saving memory: what it saves, its speed, its gradient error.

    Marks the ways that no other beats in both memory and speed, and says which lie above the line
    from exact to checkpointing.

    With --out or --format it draws them too, and of `max-batch` the largest batch of each. The
    figure goes to --out, a folder or a file, or else to runs/RUN-figures.

    Several runs of one model are compared as one, if one machine measured them.

    Examples:
      rmmbench frontier runs/frontier-auto
      rmmbench frontier runs/frontier-cuda runs/max-batch --format png
    """
    from rmmbench.report import figures
    from rmmbench.report.tables.frontier_table import frontier_tables
    from rmmbench.report.tables.writers import data as as_data
    from rmmbench.results.store import Run

    chosen = chosen_format(file_format, out)
    opened = [Run.open(path) for path in dict.fromkeys(runs)]
    data = _joined(opened)
    need = figures.get(FIGURE).lacks(data)
    if need is not None:
        where = ", ".join(str(run.path) for run in opened)
        hint = "run `rmmbench sweep frontier` or `rmmbench max-batch`"
        raise UsageError(f"{where} must have {need}, and has neither; {hint}")
    paths: dict[str, Path] = {}
    if file_format or out:
        paths = figure_paths([FIGURE], chosen, opened[0].path, out)
        figures.write({paths[FIGURE]: figures.get(FIGURE).draw(data)}, chosen)
    tables = frontier_tables(data)
    if as_json:
        drawings = {name: str(path) for name, path in paths.items()}
        write_json({"tables": as_data(tables), "figures": drawings})
        return
    _show(tables, data)
    if paths:
        note(f"figure: {paths[FIGURE]}")


def _show(tables: "Sequence[Table]", data: "FigureData") -> None:
    """Print a table a cell to stdout; what did not end well, and why, to stderr."""
    from rmmbench.cli.drawn import print_tables

    if tables:
        print_tables(tables)
    shown = {key for table in tables for key in table.values("key")}
    for record in data.records:
        if record.outcome != "ok" and record.key in shown:
            tell(f"{record.outcome}: {record.case.title}: {record.reason}")


def _joined(runs: "Sequence[Run]") -> "FigureData":
    """Return what the runs have together; of a case in several, the last run's record.

    Raises:
        NotComparableError: If they are of several models, versions or machines.
    """
    from rmmbench.report.figures import FigureData
    from rmmbench.results.tidy import read_rows

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


def _environment(first: "Environment", by_run: "Mapping[Path, Sequence[Record]]") -> "Environment":
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


def _of(name: str, records: "Sequence[Record]", device: str | None = None) -> set[str]:
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


def _require_one(name: str, found: "Mapping[Path, set[str]]") -> str | None:
    """Return what the runs agree on, None if none says anything."""
    values = set[str]().union(*found.values())
    if len(values) > 1:
        told = "; ".join(f"{', '.join(sorted(of))} in {path}" for path, of in found.items() if of)
        hint = "draw each by itself"
        raise NotComparableError(f"runs must be of one {name} to be one figure, got {told}; {hint}")
    return next(iter(values), None)
