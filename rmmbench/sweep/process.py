"""One case in a process of its own, which may hang, abort or be killed without harm to others."""

import faulthandler
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import forkserver, get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rmmbench.case import Case
from rmmbench.record import Environment, Outcome, Record

_CONTEXT = get_context("forkserver")
_KERNEL_COUNTS = Path("/proc/vmstat")
# How long a process that was killed, or has said all, may take to be gone.
_END_SECONDS = 5.0


class EndedError(RuntimeError):
    """A process that ended, or was ended, before it had answered."""


def preload(modules: Iterable[str]) -> None:
    """Import these once, in the server that the cases' processes are forked from.

    It never initialises CUDA. Call this from the main thread before the first case.
    """
    _CONTEXT.set_forkserver_preload(["rmmbench.sweep.worker", *modules])
    # Inherited by the server and all its children: of an interrupt the parent decides.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def call(function: Any, *args: Any, limit_seconds: float | None = None) -> Any:
    """Return function(*args) from a process of its own; what it raises is raised here.

    Raises:
        EndedError: If the process ends without an answer, or takes longer than `limit_seconds`.
    """
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_answer, args=(sender, function, args), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit_seconds):
            process.kill()
        answer = receiver.recv()
    except (EOFError, ConnectionError):
        process.join(_END_SECONDS)
        raise EndedError(f"the process that was asked ended with {process.exitcode}") from None
    process.join(_END_SECONDS)
    if isinstance(answer, Exception):
        raise answer
    return answer


class CaseProcess:
    """A case that is being measured.

    Attributes:
        case: What is measured.
        receiver: Ready when the process has something to say, or has ended.
        stage: What the process said last that it does.
    """

    def __init__(
        self, case: Case, environment: Environment, limit_seconds: float, folder: Path
    ) -> None:
        """Start the process; `folder` is the run directory."""
        self.case = case
        self.stage = "starting"
        self._environment = environment
        self._limit_seconds = limit_seconds
        self._start = time.monotonic()
        self._oom_kills = _oom_kills()
        self._output = tempfile.NamedTemporaryFile(prefix="rmmbench-")  # noqa: SIM115 -- closed in end
        self.receiver: Connection
        self.receiver, sender = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(
            target=_measure,
            args=(sender, self._output.name, case, environment, folder),
            daemon=True,
        )
        self._process.start()
        sender.close()

    @property
    def seconds_left(self) -> float:
        """How long the case may still take."""
        return self._start + self._limit_seconds - time.monotonic()

    def poll(self) -> Record | None:
        """Return the record once there is one; without waiting."""
        try:
            while self.receiver.poll():
                message = self.receiver.recv()
                if isinstance(message, Record):
                    return self._end(message)
                self.stage = message
        except (EOFError, ConnectionError):
            self._process.join(_END_SECONDS)
            return self._end(self._died())
        if self.seconds_left <= 0:
            self._process.kill()
            reason = f"took longer than {self._limit_seconds:g} s; raise time_limit_seconds"
            return self._end(self._without_figures("timeout", reason))
        return None

    def kill(self) -> None:
        """End the process without a record."""
        self._process.kill()
        self._process.join(_END_SECONDS)
        self._output.close()

    def _end(self, record: Record) -> Record:
        # A process that has sent its record and will not end is not waited for.
        self._process.join(_END_SECONDS)
        self.kill()
        self.receiver.close()
        return record

    def _died(self) -> Record:
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            reason = "the kernel's out-of-memory killer ended it; use a smaller batch"
            return self._without_figures("out_of_memory", reason)
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by signal {-code} ({signal.Signals(-code).name})"
        lines = Path(self._output.name).read_text(errors="replace").split("\n")
        words = next((line.strip() for line in lines if "Error" in line or "error" in line), "")
        said = f"; it said: {words[:300]}" if words else ""
        return self._without_figures("error", f"the process {how}{said}")

    def _without_figures(self, outcome: Outcome, reason: str) -> Record:
        missing = dict.fromkeys(
            ("memory", "timing", "conditions"), "the case's process ended first"
        )
        return Record(
            key=self.case.key,
            case=self.case,
            outcome=outcome,
            stage=self.stage,
            reason=reason,
            environment=self._environment,
            missing=missing,
            wall_seconds=time.monotonic() - self._start,
        )


def _measure(
    sender: Connection, output: str, case: Case, environment: Environment, folder: Path
) -> None:
    _become_worker(output)
    from rmmbench.sweep.worker import measure

    sender.send(measure(case, environment, folder, announce=sender.send))


def _answer(sender: Connection, function: Any, args: tuple[Any, ...]) -> None:
    _become_worker(os.devnull)
    try:
        sender.send(function(*args))
    except Exception as error:
        sender.send(error)


def _become_worker(output: str) -> None:
    """Send what libraries print to a file, die with the parent, and first if memory runs out."""
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        os._exit(1)  # the parent was interrupted just now, and the file went with it
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    faulthandler.enable()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _oom_kills() -> int:
    """Return how often the kernel killed for want of memory; 0 where it does not tell."""
    try:
        lines = _KERNEL_COUNTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
