"""A case in a process of its own, which may hang, abort or be killed without harm to others."""

import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from rmmbench.results.record import Environment, Outcome, Record
from rmmbench.results.stage import Stage
from rmmbench.running import interrupts
from rmmbench.running.isolation import fork_server
from rmmbench.running.isolation.case_job import SoFar, measure_case
from rmmbench.running.isolation.child import Child
from rmmbench.running.isolation.fork_server import EndedError as EndedError
from rmmbench.running.isolation.job import Send, of_a_shared_class
from rmmbench.running.isolation.pipe import GarbageError
from rmmbench.running.isolation.rank_processes import RankProcesses
from rmmbench.spec.case import Case
from rmmbench.spec.printable import printable
from rmmbench.units import format_seconds

logger = logging.getLogger("rmmbench")

_KERNEL_COUNTS = Path("/proc/vmstat")
TICK_SECONDS = 0.5
"""How long it may take until an interrupt is noticed."""

_PATIENCE = 0.25
"""The share of a case's time for which its ranks wait for each other."""

# Exit codes of a process that somebody else ended.
_FROM_OUTSIDE = {-signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL}


def preload(modules: Iterable[str]) -> None:
    """Import modules once, in the server that processes are forked from.

    The server never initialises CUDA.

    Raises:
        EndedError: If the server cannot be started.
    """
    fork_server.preload([fork_server.WORKER, *modules])


def call(function: Callable[..., Any], *args: Any, limit_seconds: float | None = None) -> Any:
    """Call function(*args) in a process of its own, and return or raise what it does.

    A process that somebody else killed is started once more.

    Raises:
        EndedError: If the process ends without an answer, or takes longer than `limit_seconds`.
    """
    for is_last in (False, True):
        child = Child(_answer, function, args)
        try:
            answer, *_ = _first_messages(child, limit_seconds)
            break
        except EndedError:
            if is_last or not (child.is_lost or child.code in _FROM_OUTSIDE):
                raise
        finally:
            child.end()
    if isinstance(answer, Exception):
        raise answer
    return answer


def follow(
    function: Callable[..., Any],
    *args: Any,
    heard: Callable[[Any], None],
    limit_seconds: float,
) -> Any:
    """Call function(tell, *args) in a process of its own, and return or raise what it does.

    Args:
        function: From a module that can be imported.
        args: Arguments that can be pickled.
        heard: Called with what it tells, meanwhile.
        limit_seconds: From one message to the next.

    Raises:
        EndedError: If the process ends without an answer, or takes too long.
    """
    child = Child(_answer_in_the_end, function, args)
    try:
        while True:
            for message in _first_messages(child, limit_seconds):
                if isinstance(message, _Answer):
                    if isinstance(message.value, Exception):
                        raise message.value
                    return message.value
                heard(message)
    finally:
        child.end()


class CaseProcess:
    """A case that is being measured.

    Attributes:
        case: What is measured.
        stage: What the process does, as it last reported.
    """

    def __init__(
        self,
        case: Case,
        environment: Environment,
        limit_seconds: float,
        folder: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start the process.

        Args:
            case: What it measures.
            environment: What it runs on.
            limit_seconds: After this time it is killed.
            folder: The run directory.
            variables: Of its environment, set before it does anything.

        Raises:
            EndedError: If it cannot be started.
        """
        self.case = case
        self.stage = Stage("starting")
        self._environment = environment
        self._limit_seconds = limit_seconds
        self._folder = folder
        self._variables = dict(variables or {})
        self._is_second = False
        self._start()

    @property
    def readers(self) -> list[Any]:
        """What to wait on: one of these is ready when the process sends something or ends."""
        return self._child.readers

    @property
    def seconds_left(self) -> float:
        """How long the case may still take."""
        return self._started + self._limit_seconds - time.monotonic()

    def poll(self) -> Record | None:
        """Return the record, or None if there is none yet, without waiting.

        Raises:
            EndedError: If the process was lost, and no other can be started.
        """
        try:
            for message in self._child.receive():
                if isinstance(message, Record) and message.key == self.case.key:
                    return self._end(message)
                if isinstance(message, SoFar):
                    self._kept = message.record
                else:
                    self.stage = _stage(message)
        except GarbageError as error:
            return self._end(self._unfinished("error", printable(str(error))))
        if self._child.is_lost:
            return self._start_again()
        if isinstance(self._child, RankProcesses) and self._child.fault is not None:
            return self._end(self._unfinished(*self._child.fault))
        if self._child.code is not None:
            return self._end(self._died())
        if self.seconds_left <= 0:
            reason = f"took longer than {self._limit_seconds:g} s; raise time_limit_seconds"
            return self._end(self._unfinished("timeout", reason))
        return None

    def kill(self) -> None:
        """Kill the process and all that it started, without a record."""
        self._child.end()

    def _start(self) -> None:
        self._kept = Record(
            key=self.case.key, case=self.case, outcome="error", environment=self._environment
        )
        self._started = time.monotonic()
        self._oom_kills = _oom_kills()
        what = self.case, self._environment, self._folder, self._variables
        self._child: Child | RankProcesses
        if self.case.ranks > 1 and self.case.device != "predict":
            patience = self._limit_seconds * _PATIENCE
            self._child = RankProcesses(
                measure_case, *what, count=self.case.ranks, patience_seconds=patience
            )
        else:
            self._child = Child(measure_case, *what)

    def _start_again(self) -> Record | None:
        """Start the case again after its server was killed; only once, as the case may do it."""
        if self._is_second:
            reason = "the process that cases are forked from was killed while it ran, twice"
            return self._end(self._unfinished("error", reason))
        self._child.end()
        self._is_second = True
        self.stage = Stage("starting again")
        self._start()
        return None

    def _end(self, record: Record) -> Record:
        self._child.end()
        case, took = record.case, format_seconds(record.wall_seconds)
        logger.info("%s on %s: %s in %s", case.title, case.device, record.outcome, took)
        if printed := self._child.printed.strip():
            level = logging.INFO if record.has_failed else logging.DEBUG
            logger.log(level, "its process printed:\n%s", printed)
        if not self._is_second:
            return record
        warning = "measured anew: the process that cases are forked from was killed"
        return record.model_copy(update={"warnings": (*record.warnings, warning)})

    def _died(self) -> Record:
        if self._child.code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            reason = "the kernel's out-of-memory killer ended it; use a smaller batch"
            return self._unfinished("out_of_memory", reason)
        return self._unfinished("error", f"the process {self._child.how_it_ended()}")

    def _unfinished(self, outcome: Outcome, reason: str) -> Record:
        """Return the record of a process that ended early, with what it had measured."""
        kept, why = self._kept, "the case's process ended first"
        parts = ("memory", "timing", "conditions", "counts")
        null = [name for name in parts if not getattr(kept, name)]
        changes: dict[str, object] = {"outcome": outcome, "reason": reason}
        changes["stage"] = str(self.stage)
        changes["missing"] = kept.missing | dict.fromkeys(null, why)
        changes["wall_seconds"] = time.monotonic() - self._started
        return kept.model_copy(update=changes)


def _first_messages(child: Child, limit_seconds: float | None) -> list[Any]:
    """Wait for messages, and return them.

    Raises:
        EndedError: If none comes.
    """
    deadline = float("inf") if limit_seconds is None else time.monotonic() + limit_seconds
    while (left := deadline - time.monotonic()) > 0:
        interrupts.check()
        wait(child.readers, min(left, TICK_SECONDS))
        try:
            messages = child.receive()
        except GarbageError as error:
            raise EndedError(f"the process that was asked gave no answer: {error}") from None
        if messages:
            return messages
        if child.has_ended:
            raise EndedError(f"the process that was asked {child.how_it_ended()}")
    raise EndedError(f"the process that was asked took longer than {limit_seconds:g} s")


def _answer(send: Send, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        answer = function(*args)
    except Exception as error:
        answer = of_a_shared_class(error)
    send(answer)


class _Answer(NamedTuple):
    """What a function returned or raised, after all that it told."""

    value: Any


def _answer_in_the_end(send: Send, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        answer = function(send, *args)
    except Exception as error:
        answer = of_a_shared_class(error)
    send(_Answer(answer))


def _stage(message: object) -> Stage:
    if not isinstance(message, str):
        raise GarbageError("something else wrote to the pipe of its messages")
    return Stage.of(printable(message), message.share if isinstance(message, Stage) else None)


def _oom_kills() -> int:
    """Return how many processes the kernel has killed for lack of memory; 0 if that is unknown."""
    try:
        lines = _KERNEL_COUNTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
