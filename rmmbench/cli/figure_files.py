"""Where figures are written, and in what format, as a command's --format and --out say."""

from pathlib import Path

from rmmbench.cli.options import FigureFormat
from rmmbench.errors import UnknownNameError, UsageError


def chosen_format(asked: FigureFormat | None, out: Path | None) -> str:
    """Return --format, or what --out ends in, or html.

    Raises:
        UnknownNameError: If that is no format.
        UsageError: If the two differ.
    """
    from rmmbench.report.figures import FORMATS

    given = asked.value if asked else None
    ending = out.suffix.removeprefix(".") if out else ""
    if ending not in FORMATS:
        # A folder may be called runs-1.2, but one called figure.gif is not what was meant.
        if out is not None and ending.isalpha() and not out.is_dir():
            raise UnknownNameError("format", ending, FORMATS)
        return given or FORMATS[0]
    if given not in (None, ending):
        raise UsageError(f"--out must end in .{given} for --format {given}, got '{out}'")
    return ending


def figure_paths(
    names: list[str], file_format: str, run: Path, out: Path | None
) -> dict[str, Path]:
    """Return where each figure goes: `out` is a file if it ends in the format.

    Without it they go below runs/, where sweeps write, and not into the run: to read one, which may
    be a baseline that others rely on, changes nothing.

    Raises:
        UsageError: If it is, and there are more figures than one.
    """
    if out is None or out.suffix != f".{file_format}":
        folder = out or Path("runs") / f"{run.resolve().name}-figures"
        return {name: folder / f"{name}.{file_format}" for name in names}
    if len(names) > 1:
        figures = ", ".join(names)
        raise UsageError(
            f"--out must be a folder for more than one figure, got '{out}' for {figures}"
        )
    return {names[0]: out}
