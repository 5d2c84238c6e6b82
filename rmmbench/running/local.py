"""The local launcher: it runs cases on this machine, alone if they would disturb each other."""

import itertools
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from rmmbench.results.record import Environment
from rmmbench.running import interrupts
from rmmbench.running.events import Event, Finished, Started, Working
from rmmbench.running.isolation.process import TICK_SECONDS, CaseProcess
from rmmbench.spec.case import Case


class LocalLauncher:
    """Runs each case in a process of its own.

    Predictions run `jobs` at a time. Trainings on the CPU run side by side too, with `jobs` threads
    in all. Everything else that is measured has the machine alone.
    """

    def __init__(
        self, environment: Environment, time_limit_seconds: float, jobs: int, folder: Path
    ) -> None:
        """Measure in `environment`, each case for at most `time_limit_seconds`.

        Args:
            environment: Of this machine.
            time_limit_seconds: A case that takes longer is killed.
            jobs: How many single-threaded processes may run at a time.
            folder: The run directory.
        """
        self._environment = environment
        self._time_limit_seconds = time_limit_seconds
        self._jobs = jobs
        self._folder = folder

    def run(self, cases: Sequence[Case]) -> Iterator[Event]:
        """Yield events until every case is finished. Closing the iterator kills running cases.

        Raises:
            EndedError: If a process cannot be started.
        """
        predicted = [case for case in cases if case.device == "predict"]
        measured = [case for case in cases if case.device != "predict"]
        yield from self._run(predicted, self._jobs)
        for threads, alike in itertools.groupby(measured, key=_threads):
            jobs = 1 if threads is None else max(1, self._jobs // threads)
            yield from self._run(list(alike), jobs)

    def _run(self, cases: Sequence[Case], jobs: int) -> Iterator[Event]:
        waiting = list(reversed(cases))
        running: list[CaseProcess] = []
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    case = waiting.pop()
                    yield Started(case)
                    running.append(self._start(case))
                left = min(process.seconds_left for process in running)
                readers = [reader for process in running for reader in process.readers]
                wait(readers, timeout=max(0, min(TICK_SECONDS, left)))
                interrupts.check()
                for process in list(running):
                    record = process.poll()
                    if record is not None:
                        running.remove(process)
                        yield Finished(record)
                yield Working([(process.case, process.stage) for process in running])
        finally:
            for process in running:
                process.kill()

    def _start(self, case: Case) -> CaseProcess:
        return CaseProcess(case, self._environment, self._time_limit_seconds, self._folder)


def _threads(case: Case) -> int | None:
    """Return the threads of a case that others may run beside; None if it must run alone."""
    is_trained_here = case.training is not None and case.time_device == "cpu"
    return case.training.threads * case.ranks if case.training and is_trained_here else None
