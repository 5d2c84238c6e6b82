"""`rmmbench.plot`: a run's figure in Python."""

from pathlib import Path
from typing import TYPE_CHECKING

from rmmbench.errors import UsageError, arguments_checked
from rmmbench.report.check.two_runs import opened
from rmmbench.report.figures import FIGURES
from rmmbench.report.figures.figure import FigureData
from rmmbench.results.store import Run

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing


@arguments_checked
def plot(run: Run | str | Path, figure: str | None = None) -> "Drawing":
    """Return a figure of a run: a plotly figure, which notebooks display.

    Args:
        run: What `load` or `run` returned, a path, or the name of a run that ships with rmmbench.
        figure: A name of `rmmbench list figures`. By default, the first figure in the profile that
            the records allow, or else the first of all figures.

    Raises:
        UnknownNameError: If no figure has the name.
        UsageError: If the records lack what it needs.
        RunError: If the run is not a run directory.

    Examples:
        >>> import rmmbench
        >>> type(rmmbench.plot("frontier-predict")).__name__
        'Figure'
    """
    read = opened(run)
    data = FigureData.of(read)
    lacks = {
        name: FIGURES.get(name)().lacks(data) for name in ([figure] if figure else FIGURES.names())
    }
    able = [name for name, need in lacks.items() if need is None]
    if not able:
        needs = "; ".join(f"{name} needs {need}" for name, need in lacks.items())
        raise UsageError(f"{read.path} does not have what a figure needs: {needs}")
    first = next((name for name in read.info.profile.figures if name in able), able[0])
    return FIGURES.get(first)().draw(data)
