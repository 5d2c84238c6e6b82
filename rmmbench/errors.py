"""Errors that a person can mend, and the exit code of each.

    RmmbenchError
    ├── UsageError            2   a flag, a value, a name or a combination
    │   ├── ArgumentError     2   a value of an argument
    │   ├── CannotPredictError 2  a model whose step needs values; also a RuntimeError
    │   └── UnknownNameError  2   a name that no registry has; also a ValueError
    ├── ProfileError          2   a profile file
    ├── PlanError             2   the file of a saving plan; also a ValueError
    ├── NoiseFileError        2   a noise file: damaged, or of another model
    ├── RunError              2   a run directory: not one, in use, of another run, no space
    ├── DataError             2   training data that is missing or wrong
    ├── NotComparableError    5   records of different machines, versions or profiles
    └── NoBaselineError       6   nothing to compare with
    Interrupted             130   by Ctrl-C; by another signal 128 plus its number

Library functions raise ValueError or TypeError for wrong arguments. A message is one line:
what must hold, what was given, what to do. `rmmbench.cli` catches these errors, once.
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
    """A request that cannot be met; the message is one line."""

    exit_code = Exit.USAGE


class UsageError(RmmbenchError):
    """A flag, value or combination that is not possible."""


class ArgumentError(UsageError):
    """A value that an argument cannot have; on the command line the message names the option.

    Attributes:
        on_command_line: The message there.
    """

    def __init__(self, argument: str, rest: str) -> None:
        """Take the argument's name in Python, and the message that follows it."""
        super().__init__(f"{argument}{rest}")
        self.on_command_line = f"--{argument.replace('_', '-')}{rest}"


class UnknownNameError(UsageError, ValueError):
    """A name that no registry has."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Name the unknown `name`, its `kind`, the nearest known name, and all of them."""
        known = list(known)
        message = f"no {kind} named '{name}'{did_you_mean(name, known)}"
        super().__init__(f"{message}; choose from: {', '.join(known)}")


class CannotPredictError(UsageError, RuntimeError):
    """A model whose step depends on values, which fake tensors do not have."""


class ProfileError(RmmbenchError):
    """A profile file that cannot be read or is not valid."""


class PlanError(RmmbenchError, ValueError):
    """A saving plan that cannot be read, is not valid, or is another model's."""


class NoiseFileError(RmmbenchError):
    """A noise file that cannot be read or written, or does not suit the model."""


class RunError(RmmbenchError):
    """A run directory that cannot be used."""


class DataError(RmmbenchError):
    """A data set that is missing, cannot be read, or does not suit the model."""


class NotComparableError(RmmbenchError):
    """Runs that measured different things, or on different machines."""

    exit_code = Exit.NOT_COMPARABLE


class NoBaselineError(RmmbenchError):
    """A check that has no baseline."""

    exit_code = Exit.NO_BASELINE


class Interrupted(BaseException):
    """A signal asked the command to end. It is no Exception, so handlers of errors let it pass."""

    def __init__(self, number: int, kept: str = "") -> None:
        """Take the number of the signal, and what to say of the work that is kept."""
        how = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        super().__init__(f"interrupted{how}" + (f": {kept}" if kept else ""))
        self.number = number
        self.exit_code = 128 + number


def check_arguments(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError for the first name that is not known; the message has the nearest."""
    known = list(known)
    for name in given:
        if name not in known:
            choice = f"{did_you_mean(name, known)}; choose from: {', '.join(known)}"
            raise TypeError(f"no argument named '{name}'{choice}")


def arguments_checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that a wrong keyword raises TypeError with the nearest right one."""
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
