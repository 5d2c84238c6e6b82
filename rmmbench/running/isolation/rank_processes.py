"""The processes of a case whose step is over several ranks, seen as one.

The first rank's messages are the case's. If a rank fails, ends or does not come along, the case
ends for all, and its record says which it was.
"""

import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from os import kill
from pathlib import Path
from typing import Any, Final, NamedTuple

from rmmbench.results.record import Outcome, Record
from rmmbench.running.isolation import fork_server
from rmmbench.running.isolation.child import Child

_GRACE_SECONDS: Final = 2.0
"""How long the others may take to tell what they saw, once one has failed."""

_SHOW_SECONDS: Final = 1.0
"""How long a rank may take to print where it is."""

_OF_OTHERS = re.compile(r"gloo|nccl|connection|timed out|socket|store", re.IGNORECASE)
"""What an error says that comes of waiting for another rank."""

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>\S+)')


class Rank(NamedTuple):
    """One of the processes that do a case's step together, each with a device of its own.

    Attributes:
        number: From 0 on; it takes the device of this index.
        ranks: How many there are.
        meeting: A file in which they find one another.
        patience_seconds: How long it waits for the others.
    """

    number: int
    ranks: int
    meeting: Path
    patience_seconds: float

    @property
    def is_first(self) -> bool:
        """Whether it is the one whose record is the case's."""
        return self.number == 0


class Fault(NamedTuple):
    """How a case ended before its end, and why."""

    outcome: Outcome
    reason: str


class Hello(NamedTuple):
    """The first message of a rank: the id of its process."""

    process: int


class RankProcesses:
    """All ranks of a case at work; nothing of them is left once `end` has returned.

    Attributes:
        fault: What ended the case, if a rank has told it; None while it goes on.
    """

    def __init__(
        self, function: Callable[..., None], *args: Any, count: int, patience_seconds: float
    ) -> None:
        """Start function(send, *args, rank) for each rank.

        Raises:
            EndedError: If a process cannot be started.
        """
        self.fault: Fault | None = None
        self._patience_seconds = patience_seconds
        self._folder = Path(tempfile.mkdtemp(prefix="ranks-", dir=fork_server.server().folder))
        self._ranks: list[Child] = []
        self._records: dict[int, Record] = {}
        self._processes: dict[int, int] = {}
        self._ended_first: int | None = None
        self._failed_at: float | None = None
        try:
            for number in range(count):
                rank = Rank(number, count, self._folder / "meeting", patience_seconds)
                self._ranks.append(Child(function, *args, rank))
        except BaseException:
            self.end()
            raise

    @property
    def readers(self) -> list[Any]:
        """What to wait on: one of these is ready when there is something to receive."""
        return [reader for rank in self._ranks for reader in rank.readers]

    @property
    def code(self) -> int | None:
        """The exit code of the rank that took the case with it; None while it goes on."""
        return None if self._ended_first is None else self._ranks[self._ended_first].code

    @property
    def is_lost(self) -> bool:
        """Whether the server, and with it a rank, is gone."""
        return any(rank.is_lost for rank in self._ranks)

    @property
    def printed(self) -> str:
        """The last of what each rank printed, by rank if there is more than one's."""
        said = {n: rank.printed.strip() for n, rank in enumerate(self._ranks)}
        return "\n".join(f"rank {n}: {text}" for n, text in said.items() if text)

    def receive(self) -> list[Any]:
        """Return the messages of the case that have come, without waiting.

        Raises:
            GarbageError: If something other than a message came.
        """
        found = []
        for number, rank in enumerate(self._ranks):
            for message in rank.receive():
                if isinstance(message, Hello):
                    self._processes[number] = message.process
                elif isinstance(message, Record) and _is_failure(number, message):
                    self._records[number] = message
                elif number == 0:
                    found.append(message)
        self._judge()
        return found

    def how_it_ended(self) -> str:
        """Return in words how the rank ended that took the case with it."""
        assert self._ended_first is not None
        how = self._ranks[self._ended_first].how_it_ended()
        return f"of rank {self._ended_first} {how}"

    def end(self) -> None:
        """Kill every rank and all that it started; drop what was not received."""
        for rank in self._ranks:
            rank.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _judge(self) -> None:
        """Find out which rank ended the case, once one has failed and the others had their time."""
        gone = [n for n, rank in enumerate(self._ranks) if rank.has_ended]
        dead = [n for n in gone if n not in self._records and self._ranks[n].code != 0]
        if not (dead or self._records) or self.is_lost or self.fault is not None:
            return
        if self._failed_at is None:
            self._failed_at = time.monotonic()
        is_over = time.monotonic() > self._failed_at + _GRACE_SECONDS
        if not is_over and len(self._records) + len(dead) < len(self._ranks):
            return
        if dead:
            # Who has lost another may abort.
            self._ended_first = min(dead, key=lambda n: self._ranks[n].code == -signal.SIGABRT)
        else:
            self.fault = self._of_records()

    def _of_records(self) -> Fault:
        """Return what the ranks' records say of the case: lack of memory, an error, or a wait."""
        told = {number: self._records[number] for number in sorted(self._records)}
        reasons = {record.reason for record in told.values()}
        if len(told) == len(self._ranks) and len(reasons) == 1:
            (record, *_) = told.values()
            return Fault(record.outcome, record.reason or "")
        own = {n: record for n, record in told.items() if not _is_of_others(record)}
        late = [n for n in range(len(self._ranks)) if n not in told]
        if not own and late:
            return Fault("error", self._why_late(late))
        full = {n: record for n, record in own.items() if record.outcome == "out_of_memory"}
        number, record = next(iter((full or own or told).items()))
        return Fault(record.outcome, f"rank {number}: {record.reason}")

    def _why_late(self, late: list[int]) -> str:
        """Return which ranks the others have waited for, and where they are."""
        for number in late:
            # A rank prints where it is on this signal.
            with suppress(OSError, KeyError):
                kill(self._processes[number], signal.SIGUSR1)
        time.sleep(_SHOW_SECONDS)
        said = []
        for number in late:
            self._ranks[number].receive()
            frame = _FRAME.search(self._ranks[number].printed)
            where = f" at {Path(frame['file']).name}:{frame['line']}" if frame else ""
            said.append(f"rank {number} hung{where}")
        waited = f"the others waited {self._patience_seconds:g} s for it"
        return f"{', '.join(said)}: {waited}"


def _is_failure(number: int, record: Record) -> bool:
    """Tell whether a rank's record says that it failed; over a limit is a result for all."""
    is_over = number == 0 and record.outcome == "out_of_memory" and record.memory is not None
    return record.outcome in ("error", "out_of_memory") and not is_over


def _is_of_others(record: Record) -> bool:
    return record.outcome == "error" and bool(_OF_OTHERS.search(record.reason or ""))
