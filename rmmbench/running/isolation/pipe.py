"""Messages from a process to the one that started it, over a pipe that anything may write to.

A message begins with a word that only the two processes know, and its length; anything else is
garbage. The reader never waits, and holds no more than one message's length.
"""

import os
import pickle
import struct
from typing import Any

MOST_BYTES = 2**28
"""The greatest length of a message."""

_HEADER = struct.Struct("!16sQ")
_CHUNK = 2**20
_PRINTED = 2**16


class GarbageError(RuntimeError):
    """Something other than a message came over a pipe."""


class Sender:
    """The writing end; it waits until everything is written."""

    def __init__(self, descriptor: int, word: bytes) -> None:
        """Write to `descriptor`; `word` is the 16 bytes that begin a message."""
        self._descriptor = descriptor
        self._word = word

    def send(self, message: object) -> None:
        """Send one message."""
        data = pickle.dumps(message)
        left = memoryview(_HEADER.pack(self._word, len(data)) + data)
        while left:
            left = left[os.write(self._descriptor, left) :]


class _End:
    """The reading end of a pipe, which never waits.

    Attributes:
        is_open: Whether anything can still come.
    """

    def __init__(self, descriptor: int) -> None:
        """Own the descriptor."""
        self.is_open = True
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._descriptor

    def close(self) -> None:
        """Read no more; whoever still writes gets an error."""
        if self.is_open:
            os.close(self._descriptor)
        self.is_open = False

    def _read(self) -> bytes:
        """Return what has come, at most one chunk."""
        if not self.is_open:
            return b""
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            self.close()
        return data


class Receiver(_End):
    """The end that reads messages."""

    def __init__(self, descriptor: int, word: bytes) -> None:
        """Read messages that begin with `word` from `descriptor`."""
        super().__init__(descriptor)
        self._word = word
        self._data = bytearray()

    def receive(self) -> list[Any]:
        """Return the messages that have come to their end.

        Raises:
            GarbageError: If something else came; what follows cannot be read either.
        """
        self._data += self._read()
        messages = []
        while self._data:
            begun = bytes(self._data[: _HEADER.size])
            length = _HEADER.unpack(begun)[1] if len(begun) == _HEADER.size else 0
            if begun[: len(self._word)] != self._word[: len(begun)] or length > MOST_BYTES:
                raise GarbageError("something else wrote to the pipe of its messages")
            end = _HEADER.size + length
            if len(self._data) < end:
                break
            messages.append(_unpickled(bytes(self._data[_HEADER.size : end])))
            del self._data[:end]
        return messages


class Printed(_End):
    """The end that reads a process's output, of which it keeps the last part."""

    _tail = b""

    def receive(self) -> None:
        """Read what has come."""
        self._tail = (self._tail + self._read())[-_PRINTED:]

    @property
    def text(self) -> str:
        """The last part of the output."""
        return self._tail.decode(errors="replace")


def _unpickled(data: bytes) -> Any:
    try:
        return pickle.loads(data)  # from a process that this one started
    except Exception as error:  # a user's class may raise anything
        raise GarbageError(f"a message cannot be read: {type(error).__name__}: {error}") from None
