"""The command line: one file per command. The only place that knows Typer, prints, or exits."""

import sys
from typing import Annotated

import typer

import rmmbench
from rmmbench.cli.advise_command import advise
from rmmbench.cli.check_command import check
from rmmbench.cli.docs_command import docs
from rmmbench.cli.doctor_command import doctor
from rmmbench.cli.export_command import export
from rmmbench.cli.flags import misuse
from rmmbench.cli.frontier_command import frontier
from rmmbench.cli.list_command import list_names
from rmmbench.cli.max_batch_command import max_batch
from rmmbench.cli.plot_command import plot
from rmmbench.cli.streams import patient_streams
from rmmbench.cli.sweep_command import sweep
from rmmbench.cli.table_command import table
from rmmbench.cli.telling import tell
from rmmbench.cli.train_command import train
from rmmbench.cli.variance_command import variance
from rmmbench.cli.verify_command import verify
from rmmbench.errors import Exit, Interrupted, RmmbenchError
from rmmbench.running.interrupts import raised

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
app.command()(docs)


def main() -> None:
    """Run a command; say in one line what is wrong where a person can mend it."""
    with patient_streams():
        code = _run()
    raise SystemExit(code)


def _run() -> int:
    """Return the exit code of the command that `sys.argv` names."""
    try:
        with raised():
            code: int | None = app(standalone_mode=False)
            sys.stdout.flush()
    except Interrupted as error:
        tell(str(error))
        return error.exit_code
    except RmmbenchError as error:
        return _refused(str(error), error.exit_code)
    except _MISUSE as error:
        return _refused(misuse(error), Exit.USAGE)
    except OSError as error:
        # A path of the person's, or stdout; what names no file is a fault of ours.
        if error.filename is None:
            raise
        return _refused(f"{error.filename} cannot be used: {error.strerror}", Exit.USAGE)
    return code or Exit.OK


def _refused(message: str, code: Exit) -> Exit:
    # Without a message it was told already: `rmmbench` alone has shown its help.
    if message:
        tell(f"error: {message}")
    return code


# Typer brings Click's errors under several names; what a flag raises is one of them.
_MISUSE: type[typer.BadParameter] = typer.BadParameter.__mro__[2]
