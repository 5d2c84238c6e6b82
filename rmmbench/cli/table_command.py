"""`rmmbench table`: a run as the paper's Tables 2 and 3 have it."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli.telling import tell
from rmmbench.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from rmmbench.results.record import Environment, Record
    from rmmbench.results.store import Run
    from rmmbench.results.tidy import Row
    from rmmbench.spec.profile import Profile

WIDTH, WIDER = 100, 120


def table(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory that sweep wrote.")],
) -> None:
    """Print a run's memory, throughput and scores, with published numbers beside its own.

    Examples:
      rmmbench table runs/table3-memory-predict
      rmmbench table runs/table2-cpu
    """
    from rmmbench.results.store import Run

    shown = show(Run.open(run))
    if not shown:
        raise RunError(f"{run} must have records to show, and has none; run its sweep first")
    for trouble in shown.troubles.values():
        tell(trouble)


@dataclass
class Shown:
    """What a run has to show, gathered from its records as they are read.

    Attributes:
        trained: The records of training, by key.
        steps: The rows of the other cases.
        notes: What of the workload is made up.
        troubles: What did not go well, by key, a line each.
    """

    trained: "dict[str, Record]" = field(default_factory=dict)
    steps: "list[Row]" = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.trained or self.steps)


def show(run: "Run", console: "Console | None" = None) -> Shown:
    """Print the tables of a run to stdout, or to `console`: of training, and of single steps."""
    shown = _gathered(run)
    if not shown:
        return shown
    is_wide = shown.trained or any(row["gradient_error"] is not None for row in shown.steps)
    console = console or stdout(WIDER if is_wide else WIDTH)
    console.print()
    synthetic = "; ".join(filter(None, shown.notes))
    if shown.trained:
        console.print(_scores(list(shown.trained.values()), run, synthetic, console.width))
    if shown.trained and shown.steps:
        console.print()
    if shown.steps:
        _show_steps(shown.steps, run, synthetic, console)
    return shown


def _gathered(run: "Run") -> Shown:
    from rmmbench.results.tidy import read_rows

    shown = Shown()

    def measured() -> "Iterator[Record]":
        for record in run.each_record():
            shown.notes[record.synthetic] = None
            # Of a case that was measured again the last record counts.
            shown.troubles.pop(record.key, None)
            if record.outcome != "ok":
                what = f"{record.outcome}: {record.case.title}"
                shown.troubles[record.key] = f"{what}: {record.reason}"
            if record.case.training is None:
                yield record
            else:
                shown.trained[record.key] = record

    shown.steps = read_rows(measured())
    return shown


def stdout(width: int = WIDTH) -> "Console":
    """Return what prints data for people: as wide as the terminal; `width` for a file or a pipe."""
    from rich.console import Console

    # Rich takes 80 columns for what is no terminal; a file or a pipe has room for the table.
    is_told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if is_told else width, highlight=False)


def _scores(records: "list[Record]", run: "Run", synthetic: str, width: int) -> "RenderableType":
    from rmmbench.cli.score_table import score_table
    from rmmbench.report.scores import read_lines

    about = (run.info.profile, run.info.environment, synthetic)
    return score_table(read_lines(records), *about, width=width)


def _show_steps(rows: "list[Row]", run: "Run", synthetic: str, console: "Console") -> None:
    from rmmbench.cli.columns import columns, in_order
    from rmmbench.cli.drawn import drawn

    rows, info = in_order(rows), run.info
    starts = {i for i in range(1, len(rows)) if rows[i]["cell"] != rows[i - 1]["cell"]}
    styles = ["" if row["outcome"] == "ok" else "red" for row in rows]
    shown = columns(rows, info.profile)
    console.print(drawn(shown, range(len(rows)), starts=starts, styles=styles))
    console.print()
    console.print(_caption(rows, info.profile, info.environment, synthetic))


def _caption(
    rows: "list[Row]", profile: "Profile", environment: "Environment", synthetic: str
) -> "RenderableType":
    """Return what all rows share, where their numbers are from, and where published ones are."""
    from rich.text import Text

    from rmmbench.report import published
    from rmmbench.report.labels import place, provenance
    from rmmbench.results.tidy import CELL, shared

    said = [place(rows[0], shared(rows, [name for name in CELL if name not in ("dtype", "seed")]))]
    said.append(provenance(rows, environment, synthetic))
    if profile.published:
        said.append(f"The paper's numbers: {published.sources(profile)}.")
    return Text("\n".join(filter(None, said)), style="dim")
