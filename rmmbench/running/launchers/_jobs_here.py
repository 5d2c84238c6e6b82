"""Jobs that submitit runs on this machine, without Slurm."""

import time
from collections.abc import Iterable
from typing import Any, Final

_END_SECONDS: Final = 5.0
"""So long a job may take to end once it was told to."""


class JobsHere:
    """What `Queue` tells of Slurm's jobs, of those that run here."""

    def reason(self, _job: Any) -> None:
        """Return None, as no job waits."""

    def has_ended(self, job: Any) -> bool:
        """Return whether the process of a job has ended."""
        return bool(job.done())

    def cancel(self, jobs: Iterable[Any]) -> None:
        """End jobs, and wait for it: they write in a folder that is to be removed."""
        living = [job for job in jobs if not job.done()]
        for job in living:
            job.cancel()
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline and not all(job.done() for job in living):
            time.sleep(0.05)
