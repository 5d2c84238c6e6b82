"""The options of where cases run, which every command has that runs them."""

import functools
from collections.abc import Callable
from typing import Annotated, Any

import typer

from rmmbench.cli import completing
from rmmbench.cli.options import with_parameters

_WHERE = "Where it is measured"

LAUNCH: dict[str, Any] = {
    "launcher": Annotated[
        str,
        typer.Option(
            metavar="NAME[:ARGUMENT]",
            autocompletion=completing.launchers,
            rich_help_panel=_WHERE,
            help="What runs cases: local; ray or ray:ADDRESS; slurm:partition=gpu,… See "
            "`rmmbench docs scaling`.",
        ),
    ],
    "devices": Annotated[
        str | None,
        typer.Option(
            metavar="N,…",
            rich_help_panel=_WHERE,
            help="GPUs of this machine, such as 0,1; each measures one case at a time.",
        ),
    ],
    "cpus_per_case": Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=_WHERE,
            help="On a cluster, CPUs of a case that others may run beside; by default 1.",
        ),
    ],
}
"""What every command has that runs cases; see `takes_launcher`."""


def takes_launcher(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `LAUNCH` in place of its parameter `launch`."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        from rmmbench.running.launchers.launcher import Launch

        command(launch=Launch.of(**{name: given.pop(name) for name in LAUNCH}), **given)

    defaults = {"launcher": "local"}
    added = {name: (option, defaults.get(name)) for name, option in LAUNCH.items()}
    return with_parameters(run, added, at="launch")
