"""`rmmbench table`: a run as the paper's Tables 2 and 3 have it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli.telling import tell
from rmmbench.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

    from rmmbench.report.tables import RunTables
    from rmmbench.results.store import Run

WIDTH, WIDER = 100, 120


def table(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory that sweep wrote.")],
) -> None:
    """Print a run's memory, throughput and scores, with published numbers beside its own.

    Examples:
      rmmbench table runs/table3-memory-predict
      rmmbench table runs/table2-cpu
    """
    from rmmbench.results.store import Run

    shown = show(Run.open(run))
    if not shown.tables:
        raise RunError(f"{run} must have records to show, and has none; run its sweep first")
    for trouble in shown.troubles:
        tell(trouble)


def show(run: "Run", console: "Console | None" = None) -> "RunTables":
    """Print the tables of a run to stdout, or to `console`; return what was printed."""
    from rmmbench.cli.drawn import drawn
    from rmmbench.report.tables import tables_of

    found = tables_of(run)
    if found.tables:
        shown = {column.name for table in found.tables for column in table.shown}
        console = console or stdout(WIDER if shown & {"score", "gradient_error"} else WIDTH)
        console.print()
        console.print(drawn(found.tables, width=console.width))
    return found


def stdout(width: int = WIDTH) -> "Console":
    """Return what prints data for people: as wide as the terminal; `width` for a file or a pipe."""
    from rich.console import Console

    # Rich takes 80 columns for what is no terminal; a file or a pipe has room for the table.
    is_told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if is_told else width, highlight=False)
