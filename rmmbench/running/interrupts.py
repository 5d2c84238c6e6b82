"""Signals that end a command: raised at once, or, while results are written, where none is lost."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from rmmbench.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_is_deferred = False
_pending: int | None = None


@contextmanager
def raised() -> Iterator[None]:
    """Within, SIGINT, SIGTERM and SIGHUP raise `Interrupted`.

    A signal that is ignored, as under nohup, stays ignored.
    """
    before = {}
    for number in _SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            with suppress(ValueError):  # only the main thread can set handlers
                before[number] = signal.signal(number, _receive)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Within, `Interrupted` is raised only by `check`, and at the end."""
    global _is_deferred, _pending
    _is_deferred = True
    try:
        yield
        check()
    finally:
        _is_deferred, _pending = False, None


@contextmanager
def keeping(kept: Callable[[], str]) -> Iterator[None]:
    """Within, an `Interrupted` says what is kept and how to go on, which `kept` returns then."""
    try:
        yield
    except Interrupted as error:
        raise Interrupted(error.number, kept()) from None


def check() -> None:
    """Raise the signal that came, if one did.

    Raises:
        Interrupted: For the last signal.
    """
    global _pending
    number, _pending = _pending, None
    if number is not None:
        raise Interrupted(number)


def _receive(number: int, _frame: FrameType | None) -> None:
    global _pending
    if not _is_deferred:
        raise Interrupted(number)
    _pending = number
