"""The local launcher: it runs cases on this machine, alone if they would disturb each other."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

from rmmbench.errors import UsageError
from rmmbench.measures.environment import environment, gpus
from rmmbench.results.record import Environment
from rmmbench.results.store import Run
from rmmbench.running import interrupts
from rmmbench.running.events import Event, Finished, Started, Working
from rmmbench.running.isolation import process
from rmmbench.running.isolation.process import TICK_SECONDS, CaseProcess
from rmmbench.running.launchers.launcher import Launch
from rmmbench.spec.case import Case
from rmmbench.units import format_count

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that says which GPUs a process sees."""

_GPU = ("gpu", "gpu_memory_bytes")


@dataclass(frozen=True)
class Place:
    """A place for one case at a time: this machine, or one of its GPUs.

    Attributes:
        environment: What the case runs on.
        variables: Of the case's process, beside those that it has anyway.
    """

    environment: Environment
    variables: Mapping[str, str] = field(default_factory=dict)


class ThisMachine:
    """The machine that the command runs on, or some of its GPUs."""

    def __init__(self, launch: Launch) -> None:
        """Use the GPUs that `launch` names; without any, the first."""
        self._devices = launch.devices

    def environment(self) -> Environment:
        """Return the environment here, with the first GPU that was asked for.

        Raises:
            UsageError: If this machine has not all the GPUs that were asked for.
        """
        here: Environment = process.call(environment)
        return self._places(here)[0].environment

    def launcher(self, run: Run) -> "LocalLauncher":
        """Return what measures the cases of a run here."""
        here, limit = run.info.environment, run.info.profile.time_limit_seconds
        places = self._places(here) if self._devices else ()
        return LocalLauncher(here, limit, here.cpu_count, run.path, places)

    def close(self) -> None:
        """Do nothing: every case's process has ended with its events."""

    def _places(self, here: Environment) -> list[Place]:
        """Return a place for each GPU that was asked for; the machine if none was."""
        if not self._devices:
            return [Place(here)]
        found = gpus_here()
        missing = next((each for each in self._devices if each >= len(found)), None)
        if missing is not None:
            count = format_count(len(found), "GPU") if found else "no GPU"
            hint = f"number them from 0 to {len(found) - 1}" if found else "leave it out"
            raise UsageError(f"--devices has {missing}, and torch sees {count} here; {hint}")
        given = os.environ.get(VISIBLE)
        names = given.split(",") if given else list(map(str, range(len(found))))
        return [
            Place(
                here.model_copy(update=dict(zip(_GPU, found[number], strict=True))),
                {VISIBLE: names[number].strip()},
            )
            for number in self._devices
        ]


def gpus_here() -> list[tuple[str, int]]:
    """Return name and memory of each GPU that torch sees, from a process of its own."""
    found: list[tuple[str, int]] = process.call(gpus)
    return found


class LocalLauncher:
    """Runs each case in a process of its own.

    Predictions run `jobs` at a time. Trainings on the CPU run side by side too, with `jobs` threads
    in all. Of what else is measured, each has a place of its own: the machine, or one of its GPUs.
    """

    def __init__(
        self,
        environment: Environment,
        time_limit_seconds: float,
        jobs: int,
        folder: Path,
        gpus: Sequence[Place] = (),
    ) -> None:
        """Measure in `environment`, each case for at most `time_limit_seconds`.

        Args:
            environment: Of this machine.
            time_limit_seconds: A case that takes longer is killed.
            jobs: How many single-threaded processes may run at a time.
            folder: The run directory.
            gpus: A place for each GPU that measures; without any, the machine is the only place.
        """
        self._machine = Place(environment)
        self._time_limit_seconds = time_limit_seconds
        self._jobs = jobs
        self._folder = folder
        self._gpus = list(gpus) or [self._machine]
        self._kinds: dict[str, str | None] = {}

    def run(self, cases: Sequence[Case]) -> Iterator[Event]:
        """Yield events until every case is finished. Closing the iterator kills running cases.

        Raises:
            EndedError: If a process cannot be started.
        """
        predicted = [case for case in cases if case.device == "predict"]
        measured = [case for case in cases if case.device != "predict"]
        yield from self._run(predicted, [self._machine] * self._jobs)
        for places, alike in itertools.groupby(measured, key=self._places):
            yield from self._run(list(alike), places)

    def _places(self, case: Case) -> list[Place]:
        """Return the places for a case and those like it, side by side."""
        if gpus_of(case):
            return _together(self._gpus, gpus_of(case))
        threads = threads_beside(case)
        return [self._machine] * (1 if threads is None else max(1, self._jobs // threads))

    def _run(self, cases: Sequence[Case], places: Sequence[Place]) -> Iterator[Event]:
        waiting, free = list(cases), list(places)
        running: list[tuple[CaseProcess, Place]] = []
        try:
            while waiting or running:
                for case, place in self._next(waiting, free):
                    yield Started(case)
                    running.append((self._start(case, place), place))
                left = min(process.seconds_left for process, _ in running)
                readers = [reader for process, _ in running for reader in process.readers]
                wait(readers, timeout=max(0, min(TICK_SECONDS, left)))
                interrupts.check()
                for process, place in list(running):
                    record = process.poll()
                    if record is not None:
                        running.remove((process, place))
                        free.append(place)
                        yield Finished(record)
                yield Working([(process.case, process.stage) for process, _ in running])
        finally:
            for process, _ in running:
                process.kill()

    def _next(self, waiting: list[Case], free: list[Place]) -> Iterator[tuple[Case, Place]]:
        """Take cases for free places, in order; those of a cell run on one kind of GPU."""
        for case in list(waiting):
            kind = self._kinds.get(case.cell)
            fitting = (each for each in free if kind in (None, each.environment.gpu))
            place = next(fitting, None)
            if place is not None:
                self._kinds.setdefault(case.cell, place.environment.gpu)
                waiting.remove(case)
                free.remove(place)
                yield case, place
            if not free:
                return

    def _start(self, case: Case, place: Place) -> CaseProcess:
        where = place.environment, self._time_limit_seconds, self._folder
        return CaseProcess(case, *where, place.variables)


def _together(places: Sequence[Place], count: int) -> list[Place]:
    """Return places of `count` GPUs each, as far as they go; all together if there are fewer."""
    if count == 1 or not places[0].variables:
        return list(places)
    most = max(count, len(places) - len(places) % count)
    parts = [places[start : start + count] for start in range(0, min(most, len(places)), count)]
    return [
        Place(part[0].environment, {VISIBLE: ",".join(each.variables[VISIBLE] for each in part)})
        for part in parts
    ]


def gpus_of(case: Case) -> int:
    """Return how many GPUs a case takes: one for each of its ranks, if it runs on any."""
    devices = (case.memory_device, case.time_device, case.projection_device)
    return case.ranks if "cuda" in devices else 0


def threads_beside(case: Case) -> int | None:
    """Return the threads of a case that others may run beside; None if it must run alone."""
    is_trained_here = case.training is not None and case.time_device == "cpu"
    return case.training.threads * case.ranks if case.training and is_trained_here else None
