"""A forked process that does one job, seen from the process that asked for it."""

import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

from rmmbench.running.isolation import fork_server
from rmmbench.running.isolation.fork_server import EndedError, ForkServer
from rmmbench.running.isolation.job import packed
from rmmbench.running.isolation.pipe import Printed, Receiver
from rmmbench.running.isolation.server import EXIT_CODE

# How long a process may take to be gone once it was killed or has sent everything.
_END_SECONDS = 5.0
# A killed server is started again, but not for ever: it may die each time.
_STARTS = 3


class Child:
    """A process at work; nothing of it is left once `end` has returned.

    Attributes:
        code: Its exit code once it has ended; negative for a signal.
        is_lost: Whether the server, and with it the process, is gone without an exit code.
    """

    def __init__(self, function: Callable[..., None], *args: Any) -> None:
        """Start function(send, *args); what it sends is received here.

        Raises:
            EndedError: If no process can be started.
        """
        self.code: int | None = None
        self.is_lost = False
        self._is_gone = False
        word = secrets.token_bytes(16)
        messages, theirs_to_send = os.pipe()
        output, theirs_to_print = os.pipe()
        self._messages, self._printed = Receiver(messages, word), Printed(output)
        try:
            job = packed(word, function, args)
            self._server, self._control = _fork(job, theirs_to_send, theirs_to_print)
        finally:
            for each in (theirs_to_send, theirs_to_print):
                os.close(each)

    @property
    def readers(self) -> list[Any]:
        """What to wait on: one of these is ready when there is something to receive."""
        ends = [end for end in (self._messages, self._printed) if end.is_open]
        return ends if self._is_gone else [*ends, self._control]

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended or is lost."""
        return self.code is not None or self.is_lost

    def receive(self) -> list[Any]:
        """Return the messages that have come, and note output and exit code, without waiting.

        Raises:
            GarbageError: If something other than a message came.
        """
        # Its end is looked for first: everything that it sent before has then arrived.
        self._look()
        self._printed.receive()
        return self._messages.receive()

    @property
    def printed(self) -> str:
        """The last of its output."""
        return self._printed.text

    def how_it_ended(self) -> str:
        """Return in words how it ended, with the error that it printed."""
        code = self.code or 0
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by {_named(-code)}"
        lines = self._printed.text.split("\n")
        words = next((line.strip() for line in lines if "Error" in line or "error" in line), "")
        said = f"; it said: {words[:300]}" if words else ""
        return f"{how}{said}"

    def end(self) -> None:
        """Kill the process and all that it started; drop what was not received."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _END_SECONDS
        while not self._is_gone and wait([self._control], deadline - time.monotonic()):
            self._look()
        for each in (self._control, self._messages, self._printed):
            each.close()

    def _look(self) -> None:
        """Read from the server: the exit code, then the end of the socket if nothing is left."""
        if self._is_gone:
            return
        try:
            code = self._control.recv(EXIT_CODE.size)
        except BlockingIOError:
            return
        except OSError:
            code = b""
        if code:
            (self.code,) = EXIT_CODE.unpack(code)
        else:
            self._is_gone = True
            self.is_lost = self.code is None
            self._server.is_lost |= self.is_lost


def _fork(job: bytes, messages: int, output: int) -> tuple[ForkServer, socket.socket]:
    """Ask the server to fork; a server that was killed is started again."""
    for _ in range(_STARTS):
        server = fork_server.server()
        with suppress(ConnectionError):
            return server, server.fork(job, messages, output)
    said = f": {server.said()}" if server.said() else ""
    raise EndedError(f"the process that others are forked from does not live{said}")


def _named(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
