"""The format and the paths of figures, from a command's --format and --out."""

from collections.abc import Sequence
from pathlib import Path

from rmmbench.cli.options import FigureFormat
from rmmbench.errors import UnknownNameError, UsageError


def chosen_format(asked: FigureFormat | None, out: Path | None) -> str:
    """Return --format, or the ending of --out, or html.

    Raises:
        UnknownNameError: If --out ends in no format.
        UsageError: If the two differ.
    """
    from rmmbench.report.figures import FORMATS

    ending = out.suffix.removeprefix(".") if out else ""
    if ending not in FORMATS:
        # A folder may be called runs-1.2, but figure.gif is not meant as a folder.
        if out is not None and ending.isalpha() and not out.is_dir():
            raise UnknownNameError("format", ending, FORMATS)
        return asked or FORMATS[0]
    if asked not in (None, ending):
        raise UsageError(f"--out must end in .{asked} for --format {asked}, got '{out}'")
    return ending


def figure_paths(
    names: list[str], file_format: str, runs: Sequence[Path], out: Path | None
) -> dict[str, Path]:
    """Return the path of each figure; `out` is a file if it ends in the format, else a folder.

    By default they go to runs/RUN-figures and not into the run, which may be a shared baseline:
    reading it must not change it.

    Raises:
        UsageError: If `out` is a file, and there is more than one figure.
    """
    if out is None or out.suffix != f".{file_format}":
        drawn = "+".join(dict.fromkeys(run.resolve().name for run in runs))
        folder = out or Path("runs") / f"{drawn}-figures"
        return {name: folder / f"{name}.{file_format}" for name in names}
    if len(names) > 1:
        figures = ", ".join(names)
        raise UsageError(
            f"--out must be a folder for more than one figure, got '{out}' for {figures}"
        )
    return {names[0]: out}
