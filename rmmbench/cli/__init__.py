"""The command line: one file per command. The only place that knows Typer, prints, or exits."""

import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

import rmmbench
from rmmbench.cli.advise_command import advise
from rmmbench.cli.check_command import check
from rmmbench.cli.docs_command import docs
from rmmbench.cli.doctor_command import doctor
from rmmbench.cli.export_command import export
from rmmbench.cli.frontier_command import frontier
from rmmbench.cli.helping import Command, Group
from rmmbench.cli.history_command import history
from rmmbench.cli.list_command import list_names
from rmmbench.cli.max_batch_command import max_batch
from rmmbench.cli.misuse import MISUSE, message_of
from rmmbench.cli.options import Quiet, Verbose, with_parameters
from rmmbench.cli.plan_command import plan
from rmmbench.cli.plot_command import plot
from rmmbench.cli.report_command import report
from rmmbench.cli.streams import patient_streams
from rmmbench.cli.summary_command import summary
from rmmbench.cli.sweep_command import sweep
from rmmbench.cli.table_command import table
from rmmbench.cli.telling import printing, tell
from rmmbench.cli.train_command import train
from rmmbench.cli.variance_command import variance
from rmmbench.cli.verify_command import verify
from rmmbench.errors import Exit, Interrupted, RmmbenchError
from rmmbench.running.interrupts import raised

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(rmmbench.__version__)  # noqa: T201 -- the command line prints
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Tell how many bytes each way of saving memory in training saves, and what it costs.

    Begin with `rmmbench sweep quick`, then `rmmbench report runs/quick-auto`.
    """


def _with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that also has -q and -v."""

    @functools.wraps(command)
    def run(*, quiet: bool, verbose: int, **given: Any) -> None:
        with printing(quiet=quiet, verbose=verbose):
            command(**given)

    return with_parameters(run, {"quiet": (Quiet, False), "verbose": (Verbose, 0)})


_GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "Measure": {
        "sweep": sweep,
        "train": train,
        "max-batch": max_batch,
        "advise": advise,
        "plan": plan,
    },
    "Read": {
        "table": table,
        "report": report,
        "summary": summary,
        "plot": plot,
        "frontier": frontier,
        "check": check,
        "history": history,
        "export": export,
    },
    "Paper": {"verify": verify, "variance": variance},
    "Help": {"docs": docs, "list": list_names, "doctor": doctor},
}

for _group, _commands in _GROUPS.items():
    for _name, _command in _commands.items():
        app.command(_name, cls=Command, rich_help_panel=_group)(_with_verbosity(_command))


def main() -> None:
    """Run a command; print an error that the user can fix in one line."""
    with patient_streams():
        code = _run()
    raise SystemExit(code)


def _run() -> int:
    """Return the exit code of the command that `sys.argv` names."""
    try:
        with raised():
            code: int | None = app(standalone_mode=False, prog_name="rmmbench")
            sys.stdout.flush()
    except Interrupted as error:
        tell(str(error))
        return error.exit_code
    except RmmbenchError as error:
        return _refused(getattr(error, "on_command_line", str(error)), error.exit_code)
    except MISUSE as error:
        return _refused(message_of(error), Exit.USAGE)
    except OSError as error:
        # The user's path, or stdout. An error that names no file is a fault of ours.
        if error.filename is None:
            raise
        return _refused(f"{error.filename} cannot be used: {error.strerror}", Exit.USAGE)
    return code or Exit.OK


def _refused(message: str, code: Exit) -> Exit:
    # There is no message where help was shown instead, as by `rmmbench` alone.
    if message:
        tell(f"error: {message}")
    return code
