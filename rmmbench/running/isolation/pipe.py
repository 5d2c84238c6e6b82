"""Messages of a process to the one that started it, over a pipe that anything may write to.

A message begins with a word that only the two know, and with its length: what does not is no
message. The reader never waits, and keeps no more than a message may be long.
"""

import os
import pickle
import struct
from typing import Any

MOST_BYTES = 2**28
"""No message is longer."""

_HEADER = struct.Struct("!16sQ")
_CHUNK = 2**20
_PRINTED = 2**16


class GarbageError(RuntimeError):
    """What came over a pipe is no message."""


class Sender:
    """The end of a process that tells; it waits until all is written."""

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
    """The end of a pipe that is read, without ever waiting.

    Attributes:
        is_open: Whether anything can still come.
    """

    def __init__(self, descriptor: int) -> None:
        """Own the descriptor."""
        self.is_open = True
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        """Return the descriptor, to wait for."""
        return self._descriptor

    def close(self) -> None:
        """Read no more; who still writes is told."""
        if self.is_open:
            os.close(self._descriptor)
        self.is_open = False

    def _read(self) -> bytes:
        """Return what there is, at most a chunk; nothing if nothing is."""
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
    """The end of the process that is told."""

    def __init__(self, descriptor: int, word: bytes) -> None:
        """Read from `descriptor`, of whoever knows `word`."""
        super().__init__(descriptor)
        self._word = word
        self._data = bytearray()

    def receive(self) -> list[Any]:
        """Return the messages that have come whole.

        Raises:
            GarbageError: If something else came; nothing after it can be told apart.
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
    """The last of what a process prints; the rest is read and forgotten."""

    def __init__(self, descriptor: int) -> None:
        """Read from `descriptor`."""
        super().__init__(descriptor)
        self._tail = b""

    def receive(self) -> None:
        """Take in what has come."""
        self._tail = (self._tail + self._read())[-_PRINTED:]

    @property
    def text(self) -> str:
        """What was printed last."""
        return self._tail.decode(errors="replace")


def _unpickled(data: bytes) -> Any:
    try:
        return pickle.loads(data)  # of a process that this one started
    except Exception as error:  # whatever a class of the user's own does when it is made again
        raise GarbageError(f"a message cannot be read: {type(error).__name__}: {error}") from None
