"""The command line: one file per command. The only place that knows Typer, prints, or exits."""

import sys

import typer

from rmmbench.cli.check import check
from rmmbench.cli.doctor import doctor
from rmmbench.cli.export import export
from rmmbench.cli.list import list_names
from rmmbench.cli.plot import plot
from rmmbench.cli.sweep import sweep
from rmmbench.cli.table import table
from rmmbench.errors import RmmbenchError

app = typer.Typer(
    help=__import__("rmmbench").__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(sweep)
app.command()(plot)
app.command()(table)
app.command()(check)
app.command()(export)
app.command("list")(list_names)
app.command()(doctor)


def main() -> None:
    """Run a command; say in one line what is wrong where a person can mend it."""
    try:
        app()
    except RmmbenchError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 -- the command line prints
        raise SystemExit(error.exit_code) from None
