"""`rmmbench.frontier`: the ways of saving memory of some runs, compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmmbench.errors import UsageError, arguments_checked
from rmmbench.report import figures
from rmmbench.report.check.two_runs import opened
from rmmbench.report.figures.figure import FigureData
from rmmbench.report.joined_runs import joined
from rmmbench.report.tables.frontier_table import frontier_tables
from rmmbench.results.store import Run

if TYPE_CHECKING:
    from pandas import DataFrame

NAME = "frontier"
_HINT = "run `rmmbench sweep frontier`"


def read_methods(runs: Sequence[Run]) -> FigureData:
    """Return the data of some runs on ways of saving memory, or on the largest batch of each.

    Raises:
        UsageError: If they have neither.
        NotComparableError: If their models, versions or machines differ.
    """
    data = joined(runs)
    need = figures.get(NAME).lacks(data)
    if need is not None:
        hint = f"{_HINT} or `rmmbench max-batch`"
        raise UsageError(f"{_paths(runs)} must have {need}, and has neither; {hint}")
    return data


@arguments_checked
def frontier(run: Run | str | Path | Sequence[Run | str | Path]) -> "DataFrame":
    """Return every way of saving memory: what it saves, its speed, its gradient error.

    A row is a case. Each cell has exact first, then the others from the highest peak to the lowest.
    `is_best_of_exact` is true if no other way with exact gradients beats it in both memory and
    speed, `is_best_of_all` if no way with as small an error does; None if its speed is unknown.
    `side` is its side of the line from exact to checkpointing.

    Args:
        run: What `load` or `run` returned, a path, or the name of a run that ships with rmmbench;
            or several of these, of one model and one machine, to be compared as one.

    Raises:
        UsageError: If no cell has exact and two or more other ways to save memory.
        NotComparableError: If the models, versions or machines of several runs differ.
        RunError: If one is not a run directory.

    Examples:
        >>> import rmmbench
        >>> ways = rmmbench.frontier("frontier-cpu")
        >>> ways[ways.is_best_of_exact == True].label.tolist()
        ['memory-budget 0.5']
    """
    from pandas import DataFrame

    several = [run] if isinstance(run, Run | str | Path) else run
    runs = [opened(each) for each in several]
    tables = frontier_tables(read_methods(runs))
    if not tables:
        raise UsageError(f"{_paths(runs)} has largest batches only, and no steps alike; {_HINT}")
    return DataFrame([row for table in tables for row in table.data()])


def _paths(runs: Sequence[Run]) -> str:
    return ", ".join(str(run.path) for run in runs)
