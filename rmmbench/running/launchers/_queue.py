"""What Slurm says of jobs: whether it takes them, still has them, and why they ended.

Which it has is asked of squeue: sacct, which submitit asks, needs accounting.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import IO, Any, Final

from rmmbench.running.isolation.fork_server import EndedError
from rmmbench.spec.printable import printable

_SQUEUE: Final = ("squeue", "--noheader", "--array", "--format=%i %t %r")

_MEND: Final = "mend the settings after slurm:, or see sinfo for whether it runs"

_EVERY_SECONDS: Final = 5.0
"""From one question to the next."""

_LATE_SECONDS: Final = 10.0
"""So long a shared folder may take to show what a job has written that Slurm no longer has."""

_SILENT_SECONDS: Final = 600.0
"""So long Slurm may not answer; its jobs run meanwhile."""


class Queue:
    """The jobs that Slurm has of this user, as they were a few seconds ago."""

    def __init__(self) -> None:
        """Ask at the first question."""
        self._asked: tuple[subprocess.Popen[bytes], IO[bytes]] | None = None
        self._asked_at = float("-inf")
        self._answered_at = time.monotonic()
        self._first_seen: dict[str, float] = {}
        self._gone_at: dict[str, float] = {}
        self._reasons: dict[str, str] = {}

    def reason(self, job: Any) -> str | None:
        """Return Slurm's word for why a job waits, such as "Priority"; None if it does not."""
        return self._reasons.get(job.job_id)

    def has_ended(self, job: Any) -> bool:
        """Return whether a job has told its result, or Slurm no longer has it.

        Raises:
            EndedError: If Slurm has not answered for long, or a job can never begin.
        """
        if job.paths.result_pickle.exists():
            return True
        now = time.monotonic()
        self._first_seen.setdefault(job.job_id, now)
        self._look(now)
        return now - self._gone_at.get(job.job_id, now) > _LATE_SECONDS

    def cancel(self, jobs: Iterable[Any]) -> None:
        """Have Slurm end jobs, those of an array together as far as all of it ends."""
        ids = [job.job_id for job in jobs]
        for start in range(0, len(ids), 100):
            with suppress(OSError, subprocess.TimeoutExpired):  # Slurm may be gone
                command = ["scancel", "--quiet", *ids[start : start + 100]]
                subprocess.run(command, check=False, timeout=60, capture_output=True)

    def _look(self, now: float) -> None:
        """Ask if it is time, and take an answer that has come; this never waits."""
        if self._asked is None:
            if now - self._asked_at > _EVERY_SECONDS:
                self._asked_at = now
                said = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the answer
                mine = [*_SQUEUE, f"--user={os.getuid()}"]
                self._asked = subprocess.Popen(mine, stdout=said, stderr=said), said
            return
        process, answer = self._asked
        if process.poll() is None:
            return
        self._asked = None
        with answer:
            answer.seek(0)
            lines = answer.read().decode(errors="replace").splitlines()
        if process.returncode == 0:
            self._answered_at = now
            self._take(dict(line.split(maxsplit=1) for line in lines if line.strip()))
        elif now - self._answered_at > _SILENT_SECONDS:
            raise EndedError(f"Slurm does not answer: {printable(' '.join(lines), 300)}")

    def _take(self, listed: dict[str, str]) -> None:
        self._reasons.clear()
        for job, first_seen in self._first_seen.items():
            if job in listed:
                self._gone_at.pop(job, None)
                state, _, reason = listed[job].partition(" ")
                if state == "PD":
                    self._reasons[job] = printable(reason, 100)
                    _require_possible(reason)
            elif first_seen < self._asked_at:
                self._gone_at.setdefault(job, self._asked_at)


def _require_possible(reason: str) -> None:
    is_long = any(word in reason for word in ("TimeLimit", "WallDuration"))
    if is_long or reason.startswith(("Bad", "Invalid")):
        need = "give time=MINUTES, as many as it allows" if is_long else "see sinfo for what it has"
        raise EndedError(f"Slurm keeps a job waiting for ever, by its word {reason}; {need}")


def submitted(submit: Callable[..., Any], *args: Any) -> Any:
    """Return the job, or the jobs, that `submit` of submitit makes.

    Raises:
        EndedError: If Slurm takes none; the message is what sbatch says.
    """
    try:
        with _nothing_said():
            return submit(*args)
    except Exception as error:  # submitit has no class of its own for what sbatch says
        lines = [line.removeprefix("sbatch: error:") for line in str(error).splitlines()]
        said = printable("; ".join(filter(None, (" ".join(line.split()) for line in lines))), 300)
        raise EndedError(f"Slurm takes no job: {said}; {_MEND}") from None


def why_ended(job: Any) -> str:
    """Return why a job ended without what it was to tell, as far as its output says."""
    said = [line.strip() for line in (job.stderr() or "").splitlines() if line.strip()]
    hint = "; give it more by time=MINUTES" if said and "TIME LIMIT" in said[-1] else ""
    return printable(said[-1] if said else "Slurm no longer has it", 300) + hint


@contextmanager
def _nothing_said() -> Iterator[None]:
    """Within, neither this process nor what it starts writes to stderr.

    Submitit prints there what it raises, and what watches a job here that it was interrupted.
    """
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere, redirect_stderr(StringIO()):
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
