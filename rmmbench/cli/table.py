"""`rmmbench table`: a run as the paper's Tables 2 and 3 have it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli.telling import tell
from rmmbench.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from rmmbench.profile import Profile
    from rmmbench.record import Environment, Record
    from rmmbench.rows import Row
    from rmmbench.store import Run

WIDTH, WIDER = 100, 120


def table(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory that sweep wrote.")],
) -> None:
    """Print a run's memory, throughput and scores, with published numbers beside its own.

    Examples:
      rmmbench table runs/table3-memory-predict
      rmmbench table runs/table2-cpu
    """
    from rmmbench.store import Run

    opened = Run.open(run)
    if not opened.records():
        raise RunError(f"{run} must have records to show, and has none; run its sweep first")
    show(opened)
    for record in opened.records():
        if record.outcome != "ok":
            tell(f"{record.outcome}: {record.case.title}: {record.reason}")


def show(run: "Run", console: "Console | None" = None) -> None:
    """Print the tables of a run to stdout, or to `console`: of training, and of single steps."""
    records = run.records()
    trained = [record for record in records if record.case.training is not None]
    measured = [record for record in records if record.case.training is None]
    is_wide = bool(trained) or any(record.gradient for record in measured)
    console = console or stdout(WIDER if is_wide else WIDTH)
    console.print()
    if trained:
        console.print(_scores(trained, run, console.width))
    if trained and measured:
        console.print()
    if measured:
        _show_steps(measured, run, console)


def stdout(width: int = WIDTH) -> "Console":
    """Return what prints data for people: as wide as the terminal; `width` for a file or a pipe."""
    from rich.console import Console

    # Rich takes 80 columns for what is no terminal; a file or a pipe has room for the table.
    is_told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if is_told else width, highlight=False)


def _scores(records: "list[Record]", run: "Run", width: int) -> "RenderableType":
    from rmmbench.cli.score_table import score_table
    from rmmbench.scores import read_lines

    about = (run.info.profile, run.info.environment, _synthetic(records))
    return score_table(read_lines(records), *about, width=width)


def _show_steps(records: "list[Record]", run: "Run", console: "Console") -> None:
    from rmmbench.cli.columns import columns, in_order
    from rmmbench.cli.drawn import drawn
    from rmmbench.rows import read_rows

    rows, info = in_order(read_rows(records)), run.info
    starts = [i for i in range(1, len(rows)) if rows[i]["cell"] != rows[i - 1]["cell"]]
    styles = ["" if row["outcome"] == "ok" else "red" for row in rows]
    shown = columns(rows, info.profile)
    console.print(drawn(shown, range(len(rows)), starts=starts, styles=styles))
    console.print()
    console.print(_caption(rows, info.profile, info.environment, _synthetic(records)))


def _synthetic(records: "list[Record]") -> str:
    return "; ".join(dict.fromkeys(record.synthetic for record in records if record.synthetic))


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
