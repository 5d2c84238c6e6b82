"""Streams and events of a GPU that is not there: what runs on it asks for them, and nothing waits.

Only which stream is the current one matters, because a block of memory belongs to the stream that
it was allocated on.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

_numbers = itertools.count(1)


class Event:
    """A moment in a stream, which has come as soon as it is recorded."""

    def __init__(self, *_: object, **__: object) -> None:
        """Take whatever a real one takes."""

    def record(self, stream: object = None) -> None:
        """Do nothing."""

    def wait(self, stream: object = None) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""

    def query(self) -> bool:
        """Tell that it has come."""
        return True


class Stream:
    """A stream, in which all that is asked of it is done at once.

    Attributes:
        number: Of the stream; 0 is the one that work is on by default.
    """

    def __init__(self, *_: object, number: int | None = None, **__: object) -> None:
        """Make another one, whatever a real one takes."""
        self.number = next(_numbers) if number is None else number

    def record_event(self, event: Event | None = None) -> Event:
        """Return the event that all before it has come."""
        return event or Event()

    def wait_event(self, event: object) -> None:
        """Do nothing."""

    def wait_stream(self, stream: object) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""


_DEFAULT = Stream(number=0)
_entered = [_DEFAULT]


def current_stream(device: object = None) -> Stream:
    """Return the stream that what comes now is on."""
    return _entered[-1]


@contextmanager
def on_stream(stream: Stream) -> Iterator[None]:
    """Within, what comes is on a stream."""
    _entered.append(stream)
    try:
        yield
    finally:
        _entered.pop()
