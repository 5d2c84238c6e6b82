"""The local launcher: cases on this machine, one at a time where they would disturb each other."""

from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait

from rmmbench.record import Case, Environment
from rmmbench.sweep.events import Event, Finished, Started, Working
from rmmbench.sweep.process import CaseProcess

_TICK_SECONDS = 0.5


class LocalLauncher:
    """Runs each case in a process of its own.

    Predictions share the machine, `jobs` at a time; whatever is measured has it alone.
    """

    def __init__(self, environment: Environment, time_limit_seconds: float, jobs: int) -> None:
        """Measure in `environment`, each case for at most `time_limit_seconds`."""
        self._environment = environment
        self._time_limit_seconds = time_limit_seconds
        self._jobs = jobs

    def run(self, cases: Sequence[Case]) -> Iterator[Event]:
        """Yield what happens, until every case is finished. Processes still running die with it."""
        predicted = [case for case in cases if case.device == "predict"]
        measured = [case for case in cases if case.device != "predict"]
        yield from self._run(predicted, self._jobs)
        yield from self._run(measured, 1)

    def _run(self, cases: Sequence[Case], jobs: int) -> Iterator[Event]:
        waiting = list(reversed(cases))
        running: list[CaseProcess] = []
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    case = waiting.pop()
                    yield Started(case)
                    running.append(CaseProcess(case, self._environment, self._time_limit_seconds))
                left = min(process.seconds_left for process in running)
                wait([p.receiver for p in running], timeout=max(0, min(_TICK_SECONDS, left)))
                for process in list(running):
                    record = process.poll()
                    if record is not None:
                        running.remove(process)
                        yield Finished(record)
                yield Working([(process.case, process.stage) for process in running])
        finally:
            for process in running:
                process.kill()
