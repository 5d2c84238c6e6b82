"""`rmmbench table`: a run as tables like the paper's Tables 2 and 3."""

from rmmbench.cli.options import AsJson, RunPath
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import tell
from rmmbench.errors import RunError


def table(run: RunPath, as_json: AsJson = False) -> None:
    """Print a run's memory, throughput and scores, with published numbers beside its own.

    Examples:
      rmmbench table runs/table3-memory-predict
      rmmbench table runs/table2-cpu --json
    """
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables import data, tables_of
    from rmmbench.results.store import Run

    found = tables_of(Run.open(run))
    if not found.tables:
        raise RunError(f"{run} must have records to show, and has none; run its sweep first")
    if as_json:
        write_json(data(found.tables))
    else:
        print_tables(found.tables)
    for trouble in found.troubles:
        tell(trouble)
