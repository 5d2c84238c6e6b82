"""Messages to people on stderr, one line each, as many as -q and -v ask for."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rmmbench.errors import UsageError
from rmmbench.spec.printable import printable

LONGEST = 4000
"""Most characters of a line; a list of all names has room in it."""

_is_quiet = False


def tell(text: str) -> None:
    """Print to stderr what people must know: an error, or what did not go well."""
    print(printable(text, LONGEST), file=sys.stderr)  # noqa: T201 -- the command line prints


def note(text: str) -> None:
    """Print to stderr, unless --quiet, what begins, what is doubtful, and what to do next."""
    if not _is_quiet:
        tell(text)


def print_path(path: Path) -> None:
    """Print the path of a written file to stdout."""
    print(printable(str(path), LONGEST))  # noqa: T201 -- the command line prints


def is_quiet() -> bool:
    """Return whether --quiet was given."""
    return _is_quiet


@contextmanager
def printing(*, quiet: bool, verbose: int) -> Iterator[None]:
    """Within, print as much as -q and -v ask for.

    Args:
        quiet: Print results and errors only.
        verbose: 1 to log what happens, and why cases fail; 2 to log all that is logged.

    Raises:
        UsageError: If both are asked for.
    """
    global _is_quiet
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other; give one of them")
    logger, handler = logging.getLogger("rmmbench"), _OnStderr()
    before = logger.level
    logger.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)])
    logger.addHandler(handler)
    _is_quiet = quiet
    try:
        yield
    finally:
        _is_quiet = False
        logger.removeHandler(handler)
        logger.setLevel(before)


class _OnStderr(logging.Handler):
    """Prints to the current sys.stderr, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        lines = self.format(record).splitlines()
        text = "\n".join(printable(line, LONGEST) for line in lines)
        print(f"{record.levelname.lower()}: {text}", file=sys.stderr)  # noqa: T201
