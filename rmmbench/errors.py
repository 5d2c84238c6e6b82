"""What a person did, gave or has that a command cannot go on with, and the exit code of each.

    RmmbenchError
    ├── UsageError            2   a request: a flag, a value, a name
    │   └── UnknownNameError  2   a name that no registry holds; a ValueError too
    ├── ProfileError          2   a profile file
    ├── RunError              2   a run directory: not one, locked, foreign, full
    ├── DataError             2   what models train on: not there, or not what it must be
    ├── NotComparableError    5   records of different machines, versions or profiles
    └── NoBaselineError       6   nothing to compare with
    Interrupted             130   by Ctrl-C; 128 and the signal's number by another

Library functions raise ValueError or TypeError for wrong arguments. Messages are one line: what
must hold, what was given, what to do. They are caught once, in `rmmbench.cli`.
"""

import difflib
import functools
import signal
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Exit(IntEnum):
    """The exit codes that scripts and CI may rely on."""

    OK = 0
    FAULT = 1
    USAGE = 2
    REGRESSION = 3
    NOT_ENOUGH_EVIDENCE = 4
    NOT_COMPARABLE = 5
    NO_BASELINE = 6
    SOME_FAILED = 7
    INTERRUPTED = 130


class RmmbenchError(Exception):
    """A request that cannot be met, told in one line."""

    exit_code = Exit.USAGE


class UsageError(RmmbenchError):
    """A flag, value or combination that makes no sense."""


class UnknownNameError(UsageError, ValueError):
    """A name that no registry holds."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Say which `kind` of thing `name` is not, and what there is instead."""
        known = list(known)
        message = f"no {kind} named '{name}'{did_you_mean(name, known)}"
        super().__init__(f"{message}; choose from: {', '.join(known)}")


class ProfileError(RmmbenchError):
    """A profile file that cannot be read or does not say what it must."""


class RunError(RmmbenchError):
    """A run directory that cannot be used."""


class DataError(RmmbenchError):
    """A data set that is not there, cannot be read, or does not suit the model."""


class NotComparableError(RmmbenchError):
    """Two runs whose records say different things."""

    exit_code = Exit.NOT_COMPARABLE


class NoBaselineError(RmmbenchError):
    """A check without anything to check against."""

    exit_code = Exit.NO_BASELINE


class Interrupted(BaseException):
    """A signal asked the command to end; no error, and caught by nothing that catches errors."""

    def __init__(self, number: int, kept: str = "") -> None:
        """Of the signal `number`; `kept` says what stays of the work."""
        how = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        super().__init__(f"interrupted{how}" + (f": {kept}" if kept else ""))
        self.number = number
        self.exit_code = 128 + number


def check_arguments(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError for the first name that is none of the known ones, with the nearest."""
    known = list(known)
    for name in given:
        if name not in known:
            choice = f"{did_you_mean(name, known)}; choose from: {', '.join(known)}"
            raise TypeError(f"no argument named '{name}'{choice}")


def arguments_checked(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that answers a wrong keyword with the nearest right one."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @functools.wraps(function)
    def checked(*args: P.args, **keywords: P.kwargs) -> R:
        check_arguments(keywords, names)
        return function(*args, **keywords)

    return checked


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest of `known`, or nothing where none is near."""
    nearest = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""
