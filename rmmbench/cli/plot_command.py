"""`rmmbench plot`: draw a run's figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli.figure_files import chosen_format, figure_paths
from rmmbench.cli.flags import FigureFormat
from rmmbench.cli.telling import print_path
from rmmbench.errors import UsageError

if TYPE_CHECKING:
    from rmmbench.report.figures import FigureData


def plot(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory that sweep wrote.")],
    figure: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name of `rmmbench list figures`; repeatable."),
    ] = None,
    file_format: Annotated[
        FigureFormat | None, typer.Option("--format", help="html if --out does not say.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A folder, or a file; runs/RUN-figures if not given."),
    ] = None,
) -> None:
    """Draw the figures that a run's records allow, or those asked for; print their paths.

    HTML is one page that needs no network. Images need a Chrome or Chromium. Nothing is written
    into RUN itself, unless --out says so.

    Examples:
      rmmbench plot runs/figure2-predict
      rmmbench plot runs/figure2-predict --figure figure2 --format png
      rmmbench plot runs/figure2-predict --figure figure2 --out figure2.svg
    """
    from rmmbench.report import figures
    from rmmbench.results.store import Run

    for name in figure or ():
        figures.FIGURES.check(name)
    chosen = chosen_format(file_format, out)
    data = figures.FigureData.of(Run.open(run))
    names = _asked(data, figure) if figure else _allowed(data, run)
    paths = figure_paths(names, chosen, run, out)
    drawings = {path: figures.get(name).draw(data) for name, path in paths.items()}
    figures.write(drawings, chosen)
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


def _allowed(data: "FigureData", run: Path) -> list[str]:
    from rmmbench.report import figures

    lacks = {name: figures.get(name).lacks(data) for name in figures.names()}
    names = [name for name, need in lacks.items() if need is None]
    if not names:
        needs = ", ".join(f"{name} {need}" for name, need in lacks.items())
        raise UsageError(f"{run} does not have what any figure needs: {needs}; sweep more")
    return names
