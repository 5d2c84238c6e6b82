"""`rmmbench summary`: a run told in one page of Markdown."""

from typing import Annotated

import typer

from rmmbench.cli.options import RunPaths
from rmmbench.cli.streams import write_data
from rmmbench.cli.telling import print_path
from rmmbench.errors import UsageError


def summary(
    runs: RunPaths,
    write: Annotated[
        bool, typer.Option("--write", help="Write README.md into each RUN; print the paths.")
    ] = False,
) -> None:
    """Tell a run in one page of Markdown: how it was made, its tables, warnings and pictures.

    What you have to say of it stands in RUN/notes.md, and pictures are RUN's PNG files.

    Examples:
      rmmbench summary runs/quick-auto
      rmmbench summary runs/* --write
    """
    from rmmbench.report.summary import PAGE
    from rmmbench.report.summary import summary as told
    from rmmbench.results.store import Run

    pages = {path / PAGE: told(Run.open(path)) for path in dict.fromkeys(runs)}
    for path, text in pages.items():
        if not write:
            write_data([text.encode()])
            continue
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        print_path(path)
