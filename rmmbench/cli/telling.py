"""What commands tell people, a line each."""

import sys
from pathlib import Path

from rmmbench.spec.printable import printable

LONGEST = 4000
"""Most characters of a line, so that no list of all that there is gets cut."""


def tell(text: str) -> None:
    """Print a line for people to stderr."""
    print(printable(text, LONGEST), file=sys.stderr)  # noqa: T201 -- the command line prints


def print_path(path: Path) -> None:
    """Print where a file was written to stdout."""
    print(printable(str(path), LONGEST))  # noqa: T201 -- the command line prints
