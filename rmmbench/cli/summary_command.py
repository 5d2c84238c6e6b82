"""`rmmbench summary`: a run in one page of Markdown."""

from typing import Annotated

import typer

from rmmbench.cli.options import RunPaths
from rmmbench.cli.streams import write_data, write_file
from rmmbench.cli.telling import print_path


def summary(
    runs: RunPaths,
    write: Annotated[
        bool, typer.Option("--write", help="Write README.md into each RUN; print the paths.")
    ] = False,
) -> None:
    """Describe a run in one page of Markdown: how it was made, its tables, warnings and pictures.

    Your own notes come from RUN/notes.md; the pictures are RUN's PNG files.

    Examples:
      rmmbench summary runs/quick-auto
      rmmbench summary runs/* --write
    """
    from rmmbench.report import summary as pages
    from rmmbench.results.store import Run

    texts = {path / pages.PAGE: pages.summary(Run.open(path)) for path in dict.fromkeys(runs)}
    for path, text in texts.items():
        if write:
            write_file(path, [text.encode()])
            print_path(path)
        else:
            write_data([text.encode()])
