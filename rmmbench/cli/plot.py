"""`rmmbench plot`: draw a run's figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from rmmbench.figures import FigureData


def plot(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory that sweep wrote.")],
    figure: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name of `rmmbench list figures`; repeatable."),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", metavar="html|png|svg|pdf", help="html if --out does not say."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A folder, or a file for one figure; RUN if not given."),
    ] = None,
) -> None:
    """Draw the figures that a run's records allow, or those asked for; print their paths.

    HTML is one page that needs no network. Images need a Chrome or Chromium.

    Examples:
      rmmbench plot runs/figure2-predict
      rmmbench plot runs/figure2-predict --figure figure2 --format png
      rmmbench plot runs/figure2-predict --figure figure2 --out figure2.svg
    """
    from rmmbench import figures
    from rmmbench.store import Run

    for name in figure or ():
        figures.FIGURES.check(name)
    chosen = _format(file_format, out)
    data = figures.FigureData.of(Run.open(run))
    names = _asked(data, figure) if figure else _allowed(data, run)
    paths = _paths(names, chosen, run, out)
    drawings = {path: figures.get(name).draw(data) for name, path in paths.items()}
    figures.write(drawings, chosen)
    for path in drawings:
        typer.echo(path)


def _format(given: str | None, out: Path | None) -> str:
    from rmmbench.figures import FORMATS

    if given is not None and given not in FORMATS:
        raise UnknownNameError("format", given, FORMATS)
    ending = out.suffix.removeprefix(".") if out else ""
    if ending not in FORMATS:
        # A folder may be called runs-1.2, but one called figure.gif is not what was meant.
        if out is not None and ending.isalpha() and not out.is_dir():
            raise UnknownNameError("format", ending, FORMATS)
        return given or FORMATS[0]
    if given not in (None, ending):
        raise UsageError(f"--out must end in .{given} for --format {given}, got '{out}'")
    return ending


def _asked(data: "FigureData", names: list[str]) -> list[str]:
    from rmmbench import figures

    for name in names:
        need = figures.get(name).lacks(data)
        if need is not None:
            hint = "sweep a profile that measures it, or leave --figure out"
            raise UsageError(f"{name} needs {need}, which the records do not have; {hint}")
    return list(dict.fromkeys(names))


def _allowed(data: "FigureData", run: Path) -> list[str]:
    from rmmbench import figures

    lacks = {name: figures.get(name).lacks(data) for name in figures.names()}
    names = [name for name, need in lacks.items() if need is None]
    if not names:
        needs = ", ".join(f"{name} {need}" for name, need in lacks.items())
        raise UsageError(f"{run} does not have what any figure needs: {needs}; sweep more")
    return names


def _paths(names: list[str], file_format: str, run: Path, out: Path | None) -> dict[str, Path]:
    """Return where each figure goes: `out` is a file if it ends in the format."""
    if out is None or out.suffix != f".{file_format}":
        return {name: (out or run) / f"{name}.{file_format}" for name in names}
    if len(names) > 1:
        figures = ", ".join(names)
        raise UsageError(
            f"--out must be a folder for more than one figure, got '{out}' for {figures}"
        )
    return {names[0]: out}
