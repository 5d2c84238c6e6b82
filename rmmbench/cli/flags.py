"""What the flags of several commands have in common."""

import re
from enum import StrEnum

import typer

from rmmbench.errors import UsageError, did_you_mean


class Device(StrEnum):
    """Where a command measures."""

    AUTO = "auto"
    CUDA = "cuda"
    CPU = "cpu"
    PREDICT = "predict"


class Dtype(StrEnum):
    """The data types of a case."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Attention(StrEnum):
    """How transformers computes attention."""

    EAGER = "eager"
    SDPA = "sdpa"


class Optimizer(StrEnum):
    """What takes the steps."""

    ADAM = "adam"
    ADAMW = "adamw"
    SGD = "sgd"


class FigureFormat(StrEnum):
    """What figures are written as."""

    HTML = "html"
    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


def misuse(error: typer.BadParameter) -> str:
    """Return in one line what was wrong with the command line, "" if the help tells already."""
    message = error.format_message().removesuffix(".").replace("Value error, ", "")
    choice = re.search(r"'([^']*)' is not one of ('.*)", message, re.DOTALL)
    if choice and error.param:
        known = re.findall("'([^']*)'", choice[2])
        must = f"{error.param.opts[0]} must be one of {', '.join(known)}"
        message = f"{must}, got '{choice[1]}'{did_you_mean(choice[1], known)}"
    command = error.ctx.command_path if error.ctx else "rmmbench"
    return message and f"{message}; see `{command} --help`"


def words(given: list[str] | None) -> tuple[str, ...]:
    """Return the values of a flag that is repeated or separated by commas."""
    return tuple(word.strip() for text in given or () for word in text.split(",") if word.strip())


def numbers(flag: str, given: list[str] | None, kind: type[int] | type[float]) -> tuple[float, ...]:
    """Return the numbers among the values of a flag.

    Raises:
        UsageError: If one is no number of that kind.
    """
    try:
        return tuple(kind(word) for word in words(given))
    except ValueError:
        noun = "whole numbers" if kind is int else "numbers"
        raise UsageError(f"{flag} must be {noun}, got '{','.join(given or ())}'") from None
