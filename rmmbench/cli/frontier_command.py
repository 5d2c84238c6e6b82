"""`rmmbench frontier`: every way of saving memory in one table and one figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmmbench.cli.figure_files import chosen_format, figure_paths
from rmmbench.cli.options import AsJson, FigureFormats, Out, RunPaths
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import note, tell

if TYPE_CHECKING:
    from rmmbench.report.figures import FigureData
    from rmmbench.report.tables import Table


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
    from rmmbench.report.frontier_frame import NAME, read_methods
    from rmmbench.report.tables.frontier_table import frontier_tables
    from rmmbench.report.tables.writers import data as as_data
    from rmmbench.results.store import Run

    chosen = chosen_format(file_format, out)
    opened = [Run.open(path) for path in dict.fromkeys(runs)]
    data = read_methods(opened)
    paths: dict[str, Path] = {}
    if file_format or out:
        paths = figure_paths([NAME], chosen, [opened[0].path], out)
        figures.write({paths[NAME]: figures.get(NAME).draw(data)}, chosen)
    tables = frontier_tables(data)
    if as_json:
        drawings = {name: str(path) for name, path in paths.items()}
        write_json({"tables": as_data(tables), "figures": drawings})
        return
    _show(tables, data)
    if paths:
        note(f"figure: {paths[NAME]}")


def _show(tables: "Sequence[Table]", data: "FigureData") -> None:
    """Print a table a cell to stdout; what did not end well, and why, to stderr."""
    from rmmbench.cli.drawn import print_tables

    if tables:
        print_tables(tables)
    shown = {key for table in tables for key in table.values("key")}
    for record in data.records:
        if record.outcome != "ok" and record.key in shown:
            tell(f"{record.outcome}: {record.case.title}: {record.reason}")
