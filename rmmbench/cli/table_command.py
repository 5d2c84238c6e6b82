"""`rmmbench table`: a run as tables like the paper's Tables 2 and 3."""

from typing import Annotated

import typer

from rmmbench.cli.options import AsJson, RunPath
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import tell
from rmmbench.errors import RunError


def table(
    run: RunPath,
    with_counts: Annotated[
        bool, typer.Option("--counts", help="Show the counted work of a step too, beside exact's.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a run's memory, throughput and scores, with published numbers beside its own.

    What did not end well, and why, goes to stderr.

    Examples:
      rmmbench table runs/table3-memory-predict
      rmmbench table runs/frontier-predict --counts
      rmmbench table runs/table2-cpu --json
    """
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables import data, tables_of
    from rmmbench.results.store import Run

    found = tables_of(Run.open(run))
    if not found.tables:
        raise RunError(f"{run} must have records to show, and has none; run its sweep first")
    if with_counts and not found.counts:
        hint = "work is counted where memory is predicted: sweep --device predict"
        raise RunError(f"{run} must have counted work to show, and has none; {hint}")
    tables = found.tables + (found.counts if with_counts else ())
    if as_json:
        write_json(data(tables))
    else:
        print_tables(tables)
    for trouble in found.troubles:
        tell(trouble)
