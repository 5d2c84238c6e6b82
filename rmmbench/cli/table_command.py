"""`rmmbench table`: a run as the paper's Tables 2 and 3 have it."""

import os
import sys
from typing import TYPE_CHECKING

from rmmbench.cli.options import AsJson, RunPath
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import tell
from rmmbench.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

    from rmmbench.report.tables import RunTables

WIDTH, WIDER = 100, 120


def table(run: RunPath, as_json: AsJson = False) -> None:
    """Print a run's memory, throughput and scores, with published numbers beside its own.

    Examples:
      rmmbench table runs/table3-memory-predict
      rmmbench table runs/table2-cpu --json
    """
    from rmmbench.report.tables import data, tables_of
    from rmmbench.results.store import Run

    found = tables_of(Run.open(run))
    if not found.tables:
        raise RunError(f"{run} must have records to show, and has none; run its sweep first")
    if as_json:
        write_json(data(found.tables))
    else:
        show(found)
    for trouble in found.troubles:
        tell(trouble)


def show(found: "RunTables", console: "Console | None" = None) -> None:
    """Print the tables of a run to stdout, or to `console`."""
    from rmmbench.cli.drawn import drawn

    if found.tables:
        shown = {column.name for table in found.tables for column in table.shown}
        console = console or stdout(WIDER if shown & {"score", "gradient_error"} else WIDTH)
        console.print()
        console.print(drawn(found.tables, width=console.width))


def stdout(width: int = WIDTH) -> "Console":
    """Return what prints data for people: as wide as the terminal; `width` for a file or a pipe."""
    from rich.console import Console

    # Rich takes 80 columns for what is no terminal; a file or a pipe has room for the table.
    is_told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if is_told else width, highlight=False)
