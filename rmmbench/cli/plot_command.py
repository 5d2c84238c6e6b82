"""`rmmbench plot`: draw the figures of one run, or of several together."""

from pathlib import Path
from typing import TYPE_CHECKING

from rmmbench.cli.figure_files import chosen_format, figure_paths
from rmmbench.cli.options import AsJson, FigureFormats, Figures, Out, RunPaths, words
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import print_path
from rmmbench.errors import UsageError

if TYPE_CHECKING:
    from rmmbench.report.figures import FigureData


def plot(
    run: RunPaths,
    figure: Figures = None,
    file_format: FigureFormats = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Draw the figures that a run's records allow, or those named; print their paths.

    They go to runs/RUN-figures, unless --out names another folder or a file; RUN itself stays as it
    is. HTML is one page that needs no network. Images need a Chrome or Chromium.

    Several runs of one model and machine are drawn together; figure2 gives each a row of panels.

    Examples:
      rmmbench plot runs/figure2-auto
      rmmbench plot runs/figure2-auto --figure figure2,noise --format png
      rmmbench plot runs/figure2-auto --figure figure2 --out figure2.svg
      rmmbench plot runs/figure2-auto runs/figure2-fast-auto --figure figure2 --format png
    """
    from rmmbench.report import figures
    from rmmbench.report.joined_runs import joined
    from rmmbench.results.store import Run

    asked = [figures.FIGURES.check(name) for name in words(figure)]
    chosen = chosen_format(file_format, out)
    data = joined([Run.open(path) for path in run])
    names = _asked(data, asked) if asked else _allowed(data, run)
    paths = figure_paths(names, chosen, run, out)
    drawings = {path: figures.get(name).draw(data) for name, path in paths.items()}
    figures.write(drawings, chosen)
    if as_json:
        write_json({"figures": {name: str(path) for name, path in paths.items()}})
        return
    for path in drawings:
        print_path(path)


def _asked(data: "FigureData", names: list[str]) -> list[str]:
    from rmmbench.report import figures

    for name in names:
        need = figures.get(name).lacks(data)
        if need is not None:
            hint = "sweep a profile that measures it, or leave --figure out"
            raise UsageError(f"{name} needs {need}, which the records do not have; {hint}")
    return list(dict.fromkeys(names))


def _allowed(data: "FigureData", runs: list[Path]) -> list[str]:
    from rmmbench.report import figures

    lacks = {name: figures.get(name).lacks(data) for name in figures.names()}
    names = [name for name, need in lacks.items() if need is None]
    if not names:
        needs = ", ".join(f"{name} {need}" for name, need in lacks.items())
        told = " and ".join(map(str, runs))
        verb = "does" if len(runs) == 1 else "do"
        raise UsageError(f"{told} {verb} not have what any figure needs: {needs}; sweep more")
    return names
