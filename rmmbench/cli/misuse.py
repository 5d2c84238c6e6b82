"""One-line messages about a wrong command line."""

import re

import typer

from rmmbench.errors import did_you_mean

# Click's base class of errors, of the copy of Click that Typer uses.
MISUSE: type[typer.BadParameter] = typer.BadParameter.__mro__[2]


def message_of(error: typer.BadParameter) -> str:
    """Return in one line what was wrong with the command line, "" if help was shown instead."""
    message = error.format_message().removesuffix(".").replace("Value error, ", "")
    choice = re.search(r"'([^']*)' is not one of ('.*)", message, re.DOTALL)
    if choice and error.param:
        known = re.findall("'([^']*)'", choice[2])
        must = f"{error.param.opts[0]} must be one of {', '.join(known)}"
        message = f"{must}, got '{choice[1]}'{did_you_mean(choice[1], known)}"
    if unknown := getattr(error, "option_name", None):
        params = error.ctx.command.params if error.ctx else []
        known = [flag for each in params for flag in each.opts]
        message = f"no option named '{unknown}'{did_you_mean(unknown, known)}"
    command = error.ctx.command_path if error.ctx else "rmmbench"
    return message and f"{message}; see `{command} --help`"
