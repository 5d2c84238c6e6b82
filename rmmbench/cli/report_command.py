"""`rmmbench report`: runs as one HTML page."""

import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli.options import AsJson, Out, RunPaths
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import note, print_path
from rmmbench.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from rmmbench.results.store import Run

PAGE = "report.html"
EVERY = 1.0
"""Seconds from one look at the records to the next."""


def report(
    runs: RunPaths,
    out: Out = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw the page again as records come, until Ctrl-C.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page: the answer, tables, figures, what is missing, how to make it again.

    Several runs stand side by side, with what changed, and over their commits as lines. The page
    needs no network and may be sent to anybody. It goes to RUN/report.html, or for several runs
    beside the first; --out names another file.

    Examples:
      rmmbench report runs/quick-auto --open
      rmmbench report runs/monday runs/tuesday --out week.html
      rmmbench report runs/frontier-auto --watch
    """
    from rmmbench.results.store import Run

    opened = [Run.open(path) for path in dict.fromkeys(runs)]
    path = _path(opened, out)
    for run in opened:
        if not run.records():
            note(f"{run.path} has no records yet; the page says so")
    _write(path, opened, is_live=watch)
    if as_json:
        write_json({"report": str(path)})
    else:
        print_path(path)
    if show and not webbrowser.open(path.resolve().as_uri()):
        note(f"no browser could be opened; open {path} yourself")
    if watch:
        _watch(path, opened)


def _path(runs: "Sequence[Run]", out: Path | None) -> Path:
    """Return where the page goes.

    Raises:
        UsageError: If --out names a folder or another format.
    """
    if out is None:
        first = runs[0].path
        return (first if len(runs) == 1 else first.parent) / PAGE
    if out.is_dir():
        return out / PAGE
    if out.suffix not in (".html", ".htm"):
        raise UsageError(f"--out must end in .html, or be a folder, got '{out}'")
    return out


def _write(path: Path, runs: "Sequence[Run]", *, is_live: bool) -> None:
    from rmmbench.report.page.html_page import html_page
    from rmmbench.results.whole_file import write_whole

    content = html_page(runs, is_live=is_live).encode()
    try:
        write_whole(path, content)
    except OSError as error:
        hint = "free space or give another --out"
        raise UsageError(f"{path} cannot be written: {error.strerror}; {hint}") from error


def _watch(path: Path, runs: "Sequence[Run]") -> None:
    """Draw the page whenever a run has more records; at the end once more, as it then stays."""
    note(f"watching for records; {path} is drawn again as they come. Ctrl-C ends it")
    seen = _sizes(runs)
    try:
        while True:
            time.sleep(EVERY)
            now = _sizes(runs)
            if now != seen:
                _write(path, runs, is_live=True)
                seen = now
    except Interrupted:
        _write(path, runs, is_live=False)
        raise


def _sizes(runs: "Sequence[Run]") -> list[int]:
    """Return how long each run's records are; a file that is not there yet has none."""
    from rmmbench.results.store import RECORDS_FILE

    files = [run.path / RECORDS_FILE for run in runs]
    return [file.stat().st_size if file.exists() else 0 for file in files]
