"""`rmmbench table`: a run as the paper's Tables 2 and 3 have it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli.telling import tell
from rmmbench.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

    from rmmbench.report.tables import RunTables
    from rmmbench.results.store import Run


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
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables import tables_of

    found = tables_of(run)
    if found.tables:
        print_tables(found.tables, console)
    return found
