"""A wrong command line, told in one line."""

import re

import typer

from rmmbench.errors import did_you_mean

# Typer brings Click's errors under several names; what an option raises is one of them.
MISUSE: type[typer.BadParameter] = typer.BadParameter.__mro__[2]


def told(error: typer.BadParameter) -> str:
    """Return what was wrong with the command line, "" if the help tells already."""
    message = error.format_message().removesuffix(".").replace("Value error, ", "")
    choice = re.search(r"'([^']*)' is not one of ('.*)", message, re.DOTALL)
    if choice and error.param:
        known = re.findall("'([^']*)'", choice[2])
        must = f"{error.param.opts[0]} must be one of {', '.join(known)}"
        message = f"{must}, got '{choice[1]}'{did_you_mean(choice[1], known)}"
    if unknown := getattr(error, "option_name", None):
        known = (
            [flag for each in error.ctx.command.params for flag in each.opts] if error.ctx else []
        )
        message = f"no option named '{unknown}'{did_you_mean(unknown, known)}"
    command = error.ctx.command_path if error.ctx else "rmmbench"
    return message and f"{message}; see `{command} --help`"
