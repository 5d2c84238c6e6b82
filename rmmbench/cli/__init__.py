"""The command line: one file per command. The only place that knows Typer, prints, or exits."""

import sys
from contextlib import suppress
from typing import Annotated

import typer

import rmmbench
from rmmbench.cli.advise import advise
from rmmbench.cli.check import check
from rmmbench.cli.doctor import doctor
from rmmbench.cli.export import export
from rmmbench.cli.frontier import frontier
from rmmbench.cli.list import list_names
from rmmbench.cli.max_batch import max_batch
from rmmbench.cli.plot import plot
from rmmbench.cli.sweep import sweep
from rmmbench.cli.table import table
from rmmbench.cli.train import train
from rmmbench.cli.variance import variance
from rmmbench.cli.verify import verify
from rmmbench.errors import Interrupted, RmmbenchError
from rmmbench.interrupts import raised

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(rmmbench.__version__)  # noqa: T201 -- the command line prints
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Tell how many bytes each way of saving memory in training saves, and what it costs.

    Begin with `rmmbench sweep quick`, then `rmmbench plot runs/quick-auto`.
    """


app.command()(sweep)
app.command()(train)
app.command()(plot)
app.command()(table)
app.command()(frontier)
app.command()(advise)
app.command("max-batch")(max_batch)
app.command()(variance)
app.command()(verify)
app.command()(check)
app.command()(export)
app.command("list")(list_names)
app.command()(doctor)


def main() -> None:
    """Run a command; say in one line what is wrong where a person can mend it."""
    try:
        with raised():
            app()
    except (RmmbenchError, Interrupted) as error:
        said = error if isinstance(error, Interrupted) else f"error: {error}"
        with suppress(OSError):  # the terminal is closed, and with it goes the command
            print(said, file=sys.stderr)  # noqa: T201 -- the command line prints
        raise SystemExit(error.exit_code) from None
