"""The job of a case's process: to measure the case, or one rank's part of it."""

import faulthandler
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rmmbench.results.record import Environment, Record
from rmmbench.running.isolation.job import Send
from rmmbench.running.isolation.rank_processes import Hello, Rank
from rmmbench.spec.case import Case


class SoFar(NamedTuple):
    """What a process has measured so far."""

    record: Record


def measure_case(
    send: Send,
    case: Case,
    environment: Environment,
    folder: Path,
    variables: Mapping[str, str],
    rank: Rank | None = None,
) -> None:
    """Measure a case, tell what is being done and was measured meanwhile, and send the record.

    Args:
        send: Sends a message to the process that asked.
        case: What is measured.
        environment: Of this machine.
        folder: The run directory.
        variables: Of this process, beside those that it has anyway.
        rank: Which of the processes of the case this is; None if it is the only one.
    """
    os.environ.update(variables)
    # The process that started this one keeps its output, and shows it in the log.
    logging.basicConfig(format="%(levelname)s: %(name)s: %(message)s")
    logging.getLogger("rmmbench").setLevel(logging.INFO)
    if rank is not None:
        faulthandler.register(signal.SIGUSR1, all_threads=False)
        send(Hello(os.getpid()))
    from rmmbench.running.worker import measure

    def keep(record: Record) -> None:
        send(SoFar(record))

    send(measure(case, environment, folder, announce=send, keep=keep, rank=rank))
