"""`rmmbench docs`: the documentation, in the terminal."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rmmbench.errors import UnknownNameError

_FOLDER = Path(__file__).parents[1] / "docs"

TOPICS = (
    *("quick-start", "which-method", "planning", "own-model", "integrations", "sketches"),
    *("methods", "results", "profiles", "measuring", "scaling"),
    *("ci", "pytest", "paper", "extending"),
)
"""Every page, in the order of reading."""


def docs(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC",
            autocompletion=lambda: list(TOPICS),
            help="A page; by default the list of pages.",
        ),
    ] = None,
) -> None:
    """Show a page of the documentation, or the list of pages.

    The list is in the order of reading.

    Examples:
      rmmbench docs
      rmmbench docs which-method
      rmmbench docs results | less
    """
    if topic is None:
        width = max(map(len, TOPICS))
        for name in TOPICS:
            typer.echo(f"{typer.style(name.ljust(width), bold=True)}  {_summary(name)}")
        return
    if topic not in TOPICS:
        raise UnknownNameError("page", topic, TOPICS)
    text = page(topic)
    if not sys.stdout.isatty():
        typer.echo(text, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(highlight=False)
    # Longer lines are hard to read.
    console.print(Markdown(text), width=min(console.width, 110))


def page(topic: str) -> str:
    """Return a page's Markdown, without the comments that tests read."""
    text = (_FOLDER / f"{topic}.md").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("<!--"))


def _summary(topic: str) -> str:
    """Return the line below a page's title."""
    return page(topic).split("\n\n")[1].replace("\n", " ")
