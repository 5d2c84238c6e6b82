"""What a planning process tells while it works, and how that is shown."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from rmmbench.running.pieces import Kind, Piece
from rmmbench.running.progress import progress
from rmmbench.units import format_bytes

_USUAL: Final = 12
"""About how many predictions a planning takes, before anything is known of it."""

_SURVEY = Piece((Kind("survey"),))
_PREDICTION = Piece((Kind("prediction"),))


class Surveyed(NamedTuple):
    """The training step was followed."""


class Left(NamedTuple):
    """About so many predictions are still to be made."""

    predictions: int


class PredictedStep(NamedTuple):
    """A plan was predicted."""

    words: str
    peak_bytes: int


@contextmanager
def showing(*, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Give what is called with what is told, and shows it unless `quiet`."""
    with progress("step", quiet=quiet) as shown:
        shown.working("following a training step")
        shown.expect([_SURVEY, *[_PREDICTION] * _USUAL], is_known=False)
        last = time.monotonic()

        def hear(told: Any) -> None:
            nonlocal last
            now = time.monotonic()
            match told:
                case Left(count):
                    shown.expect([_PREDICTION] * count, is_known=False)
                case Surveyed():
                    shown.finish("survey", _SURVEY, now - last, "followed a training step")
                    last = now
                case PredictedStep(words, peak_bytes):
                    said = f"{format_bytes(peak_bytes)}: {words}"
                    shown.finish("prediction", _PREDICTION, now - last, said)
                    last = now

        yield hear
