"""A process that is asked again and again, and tells what it does meanwhile."""

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from rmmbench.errors import RmmbenchError
from rmmbench.running import interrupts
from rmmbench.running.isolation.child import Child
from rmmbench.running.isolation.fork_server import EndedError
from rmmbench.running.isolation.job import Send, of_a_shared_class
from rmmbench.running.isolation.pipe import GarbageError
from rmmbench.running.isolation.process import TICK_SECONDS
from rmmbench.spec.printable import printable

Answer = Callable[[Any], Iterator[object]]
"""Called with a question; yields what is told, up to the end of the answer."""

_WORD_BYTES = 16


class Conversation:
    """A process that answers questions, one after the other, until it is ended."""

    def __init__(self, function: Callable[..., Answer], *args: Any) -> None:
        """Start the process.

        Args:
            function: From a module that can be imported; called there with `args`, at the first
                question, it returns what answers.
            args: Arguments that can be pickled.

        Raises:
            EndedError: If no process can be started.
        """
        place, self._word = f"\0rmmbench-{secrets.token_hex(16)}", secrets.token_bytes(_WORD_BYTES)
        self._questions: Connection | None = None
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(place)
        self._door.listen(1)
        self._child = Child(_converse, place, self._word, function, args)

    def ask(self, question: object, silent_seconds: float) -> Iterator[Any]:
        """Ask, and yield what is told until the answer ends.

        Args:
            question: It can be pickled.
            silent_seconds: For so long at most nothing may be told.

        Raises:
            RmmbenchError: As the process raised it.
            EndedError: If it ended, said nothing for too long, or raised something else.
        """
        deadline = time.monotonic() + silent_seconds
        while self._questions is None:
            self._open_door(deadline)
        self._questions.send(question)
        while True:
            self._wait(self._child.readers, deadline)
            for message in self._received():
                deadline = time.monotonic() + silent_seconds
                if isinstance(message, _Done):
                    return
                if isinstance(message, RmmbenchError):
                    raise message
                if isinstance(message, Exception):
                    raise EndedError(printable(" ".join(str(message).split()), 300))
                yield message

    def end(self) -> None:
        """End the process and all that it started."""
        if self._questions is not None:
            self._questions.close()
        self._door.close()
        self._child.end()

    def _open_door(self, deadline: float) -> None:
        """Let the process in if it knocks; whoever else does so is sent away."""
        self._wait([self._door, *self._child.readers], deadline)
        if self._door not in wait([self._door], 0):
            self._received()
            return
        guest, _ = self._door.accept()
        guest.settimeout(TICK_SECONDS)
        if secrets.compare_digest(guest.recv(_WORD_BYTES, socket.MSG_WAITALL), self._word):
            guest.settimeout(None)
            self._questions = Connection(guest.detach())
        else:
            guest.close()

    def _wait(self, readers: list[Any], deadline: float) -> None:
        left = deadline - time.monotonic()
        interrupts.check()
        wait(readers, max(0.0, min(left, TICK_SECONDS)))
        if left <= 0:
            raise EndedError("it did not answer in time")

    def _received(self) -> list[Any]:
        """Return what was told; if that is nothing, make sure that the process lives."""
        try:
            messages = self._child.receive()
        except GarbageError as error:
            raise EndedError(str(error)) from None
        if not messages and self._child.has_ended:
            raise EndedError(f"the process that speaks with it {self._child.how_it_ended()}")
        return messages


class _Done(NamedTuple):
    """The end of an answer."""


def _converse(
    send: Send, place: str, word: bytes, function: Callable[..., Answer], args: tuple[Any, ...]
) -> None:
    door = socket.socket(socket.AF_UNIX)
    door.connect(place)
    door.sendall(word)
    questions = Connection(door.detach())
    answer: Answer | None = None
    while True:
        try:
            question = questions.recv()
        except EOFError:
            return
        try:
            answer = answer or function(*args)
            for told in answer(question):
                send(told)
        except Exception as error:
            send(of_a_shared_class(error))
        else:
            send(_Done())
