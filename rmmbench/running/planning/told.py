"""What a planning process tells while it works, and how that is shown."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from rmmbench.running.progress import bar
from rmmbench.units import format_bytes, format_seconds

_USUAL: Final = 18
"""About how many predictions a planning takes; fewer mostly."""


class PredictedStep(NamedTuple):
    """A plan was predicted."""

    words: str
    peak_bytes: int


@contextmanager
def showing(*, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Give what is called with what is told; it shows a bar with an estimate, or else lines."""
    start, done = time.monotonic(), 0
    with bar(_USUAL, is_wanted=not quiet) as (update, is_seen):
        update(description="following a training step")

        def hear(told: Any) -> None:
            nonlocal done
            if isinstance(told, PredictedStep):
                done += 1
                each = (time.monotonic() - start) / done
                left = f"at most about {format_seconds(each * max(1, _USUAL - done))} left"
                words = f"{format_bytes(told.peak_bytes)}: {told.words}"
            else:
                left, words = "", str(told)
            update(advance=int(bool(left)), description=words, left=left)
            if not (is_seen or quiet):
                print(words, file=sys.stderr)  # noqa: T201

        yield hear
