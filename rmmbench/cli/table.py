"""`rmmbench table`: a run as the paper's Table 3 has it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from rmmbench.profile import Profile
    from rmmbench.record import Environment
    from rmmbench.rows import Row
    from rmmbench.store import Run

WIDTH = 100


def table(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory that sweep wrote.")],
) -> None:
    """Print a run's memory and throughput, with published numbers beside the measured ones.

    Examples:
      rmmbench table runs/table3-memory-predict
    """
    from rmmbench.store import Run

    opened = Run.open(run)
    if not opened.records():
        raise RunError(f"{run} must have records to show, and has none; run its sweep first")
    show(opened)
    for record in opened.records():
        if record.outcome != "ok":
            case = record.case
            said = f"{record.outcome}: {case.model} {case.shape} {case.label}: {record.reason}"
            typer.echo(said, err=True)


def show(run: "Run", console: "Console | None" = None) -> None:
    """Print the table of a run to stdout, or to `console`."""
    from rmmbench.cli.columns import in_order
    from rmmbench.rows import read_rows

    records = run.records()
    rows = in_order(read_rows(records))
    synthetic = "; ".join(dict.fromkeys(record.synthetic for record in records))
    console = console or stdout()
    console.print()
    if rows:
        console.print(_table(rows, run.info.profile))
        console.print()
        console.print(_caption(rows, run.info.profile, run.info.environment, synthetic))


def stdout() -> "Console":
    """Return what prints data for people: as wide as the terminal, or wide enough for a table."""
    from rich.console import Console

    # Rich takes 80 columns for what is no terminal; a file or a pipe has room for the table.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH
    return Console(width=width, highlight=False)


def _table(rows: "list[Row]", profile: "Profile") -> "RenderableType":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from rmmbench.cli.columns import columns

    shown = columns(rows, profile)
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in shown:
        drawn.add_column(
            Text(column.heading), justify="right" if column.is_number else "left", vertical="bottom"
        )
    for index, cells in enumerate(zip(*(column.cells for column in shown), strict=True)):
        if index and rows[index]["cell"] != rows[index - 1]["cell"]:
            drawn.add_section()
        style = "" if rows[index]["outcome"] == "ok" else "red"
        drawn.add_row(*(Text(cell) for cell in cells), style=style)
    return drawn


def _caption(
    rows: "list[Row]", profile: "Profile", environment: "Environment", synthetic: str
) -> "RenderableType":
    """Return what all rows share, where their numbers are from, and where published ones are."""
    from rich.text import Text

    from rmmbench import published
    from rmmbench.labels import place, provenance
    from rmmbench.rows import CELL, shared

    said = [place(rows[0], shared(rows, [name for name in CELL if name not in ("dtype", "seed")]))]
    said.append(provenance(rows, environment, synthetic))
    if profile.published:
        said.append(f"The paper's numbers: {published.sources(profile)}.")
    return Text("\n".join(filter(None, said)), style="dim")
