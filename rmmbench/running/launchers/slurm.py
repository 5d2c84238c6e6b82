"""Cases as jobs of Slurm, by submitit: a job for each cell, all of them in an array.

A job hands its events over in a file of a folder that all nodes share, which Slurm needs anyway.
Only this process writes records.
"""

import logging
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from rmmbench.errors import UsageError, did_you_mean
from rmmbench.results.record import Environment
from rmmbench.results.stage import Stage
from rmmbench.results.store import Run
from rmmbench.running import interrupts
from rmmbench.running.events import Event, Finished, Started, Working
from rmmbench.running.isolation import fork_server
from rmmbench.running.isolation.fork_server import EndedError
from rmmbench.running.isolation.process import TICK_SECONDS
from rmmbench.running.launchers._job import Told, job_environment, job_events
from rmmbench.running.launchers._jobs_here import JobsHere
from rmmbench.running.launchers._node_case import Terms
from rmmbench.running.launchers._nodes import best_known
from rmmbench.running.launchers._queue import Queue, submitted, why_ended
from rmmbench.running.launchers._spreading import Node, Task, Tasks
from rmmbench.running.launchers.launcher import Launch
from rmmbench.running.launchers.local import gpus_of, threads_beside
from rmmbench.spec.case import Case

logger = logging.getLogger("rmmbench")

_SETTINGS: Final = ("partition", "account", "qos", "constraint", "gpus", "mem", "time")
"""What may follow "slurm:", each by its name in sbatch; gpus says whether there are some."""

_COMMANDS: Final = ("sbatch", "squeue")

_CHUNK: Final = 20
"""So many predictions make a job."""

_ARRAY = 1000
"""So many jobs make an array; Slurm takes no more, unless it is told to."""

_FIRST_MINUTES, _MORE_MINUTES = 10, 5
_PATIENCE_SECONDS = 15.0
_SLURM: Final = Node("", "Slurm", 0, 0)


class SlurmCluster:
    """The machines that Slurm gives, one for each job.

    Attributes:
        jobs: What tells of jobs, and ends them.
    """

    def __init__(self, launch: Launch) -> None:
        """Submit with the settings of `launch.argument`; "local" runs jobs here, without Slurm.

        Raises:
            UsageError: If submitit is not installed, there is no Slurm, or no such setting.
        """
        if find_spec("submitit") is None:
            need = "--launcher slurm needs submitit, which is not installed"
            raise UsageError(f"{need}; pip install 'rmmbench[slurm]'")
        self._is_local = launch.argument == "local"
        self._settings = {} if self._is_local else _settings(launch.argument)
        self._gpus = int(self._settings.pop("gpus", 0))
        missing = next((each for each in _COMMANDS if shutil.which(each) is None), None)
        if missing is not None and not self._is_local:
            why = f"--launcher slurm needs Slurm, and this machine has no {missing}"
            raise UsageError(f"{why}; run the command where jobs are submitted")
        self._cpus = launch.cpus_per_case or 1
        self.jobs: Queue | JobsHere = JobsHere() if self._is_local else Queue()
        self._folder: Path | None = None
        self._count = 0

    def environment(self) -> Environment:
        """Return the environment of the node that a first, short job gets.

        Raises:
            UsageError: If Slurm does not take that job.
            EndedError: If it fails.
        """
        file = self._new_file()
        executor = self._executor(_FIRST_MINUTES, self._cpus, self._gpus)
        here, modules = Path.cwd(), tuple(fork_server.server().modules)
        with interrupts.deferred():
            try:
                job = submitted(executor.submit, job_environment, file, here, modules)
            except EndedError as error:
                raise UsageError(str(error)) from None
            try:
                self._wait(job)
            finally:
                self.jobs.cancel([job])
        found = [each for each in Told(file).read() if isinstance(each, Environment)]
        if not found:
            raise EndedError(f"the first job of Slurm failed: {why_ended(job)}")
        return best_known(found)

    def launcher(self, run: Run) -> "SlurmLauncher":
        """Return what measures the cases of a run by jobs."""
        return SlurmLauncher(self, Terms.of(run, fork_server.server().modules))

    def close(self) -> None:
        """Remove the folder that jobs were handed over in."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def submit(self, tasks: Sequence[Task], terms: Terms) -> dict[Any, tuple[Task, Told]]:
        """Submit a job for each task, those that need the same together, and return them by job."""
        alike: dict[tuple[int, int, int], list[Task]] = {}
        for task in tasks:
            seconds = len(task.cases) * terms.time_limit_seconds
            minutes = math.ceil(seconds / 60) + _MORE_MINUTES
            alike.setdefault((minutes, task.cpus, task.gpus), []).append(task)
        jobs: dict[Any, tuple[Task, Told]] = {}
        for (minutes, cpus, gpus), every in alike.items():
            executor = self._executor(minutes, cpus, gpus)
            for start in range(0, len(every), _ARRAY):
                some = every[start : start + _ARRAY]
                files = [self._new_file() for _ in some]
                what = [task.cases for task in some], [terms] * len(some)
                made = submitted(executor.map_array, job_events, files, *what)
                told = zip(some, map(Told, files), strict=True)
                jobs |= dict(zip(made, told, strict=True))
        return jobs

    def _wait(self, job: Any) -> None:
        told, begun = "", time.monotonic()
        while not self.jobs.has_ended(job):
            _pause()
            why = self.jobs.reason(job)
            if why and why != told and time.monotonic() - begun > _PATIENCE_SECONDS:
                told = why
                logger.warning("a first, short job waits in the queue of Slurm: %s", why)

    def needs(self, case: Case) -> tuple[int, int]:
        """Return the CPUs and GPUs of a case's job; 0 CPUs stand for a whole node."""
        if case.device == "predict" or gpus_of(case):
            return self._cpus, gpus_of(case)
        return threads_beside(case) or 0, 0

    def _shared(self) -> Path:
        """Return the folder that jobs share, which is made when it is first needed."""
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix=".rmmbench-slurm-", dir=Path.cwd()))
        return self._folder

    def _new_file(self) -> Path:
        """Return the path of a file of that folder that is not there yet."""
        self._count += 1
        return self._shared() / f"{self._count}.told"

    def _executor(self, minutes: int, cpus: int, gpus: int) -> Any:
        """Return what submits jobs with these needs; 0 CPUs stand for a whole node."""
        submitit = import_module("submitit")
        kind = "local" if self._is_local else "slurm"
        executor = submitit.AutoExecutor(folder=self._shared() / "jobs", cluster=kind)
        needs: dict[str, Any] = {"timeout_min": minutes, "gpus_per_node": gpus}
        needs["cpus_per_task"] = max(1, cpus)
        if not self._is_local:
            needs |= {f"slurm_{name}": each for name, each in self._settings.items()}
            needs |= {} if cpus else {"slurm_exclusive": True}
            # A step of srun would have one CPU; a job that is lost is submitted again here.
            needs["slurm_use_srun"] = False
            needs["slurm_additional_parameters"] = {"no-requeue": True}
        executor.update_parameters(name="rmmbench", **needs)
        return executor


class SlurmLauncher:
    """Runs cases by jobs of Slurm: those of a cell by one, predictions several by one."""

    def __init__(self, cluster: SlurmCluster, terms: Terms) -> None:
        """Submit to `cluster`, by `terms`."""
        self._cluster, self._terms = cluster, terms

    def run(self, cases: Sequence[Case]) -> Iterator[Event]:
        """Yield events until every case is finished. Closing the iterator cancels the jobs.

        Raises:
            EndedError: If Slurm takes no job, or its jobs fail before they begin.
        """
        left = Tasks(cases, self._terms.began_on)
        jobs: dict[Any, tuple[Task, Told]] = {}
        try:
            while not left.is_done:
                if left.waiting:
                    tasks = [left.begun(task) for task in self._taken(left)]
                    jobs |= self._cluster.submit(tasks, self._terms)
                _pause()
                for job, (task, told) in list(jobs.items()):
                    # Asked first: what it has told until then is all.
                    is_done = self._cluster.jobs.has_ended(job)
                    yield from _heard(left, task, told)
                    if is_done:
                        del jobs[job]
                        yield from left.ended(task, why_ended(job))
                yield self._working(left, jobs)
                if refusal := left.refused(_SLURM):
                    raise EndedError(f"no job of Slurm can start a case: {refusal}")
        finally:
            self._cluster.jobs.cancel(jobs)

    def _working(self, left: Tasks, jobs: dict[Any, tuple[Task, Told]]) -> Working:
        """Return what runs; if nothing does, what waits, and for what."""
        working = left.working()
        waiting = ((self._cluster.jobs.reason(job), task.cases) for job, (task, _) in jobs.items())
        first = next(((why, cases[0]) for why, cases in waiting if why and cases), None)
        if working.running or first is None:
            return working
        why = "" if first[0] == "None" else f": {first[0]}"
        return Working([(first[1], Stage(f"in the queue of Slurm{why}"))])

    def _taken(self, left: Tasks) -> Iterator[Task]:
        """Take all cases that wait, as tasks."""
        groups: dict[str, list[Case]] = {}
        for index, case in enumerate(left.waiting):
            is_alone = case.device == "predict"
            groups.setdefault(str(index // _CHUNK) if is_alone else case.cell, []).append(case)
        left.waiting.clear()
        for cases in groups.values():
            yield Task(_SLURM, cases, *self._cluster.needs(cases[0]))


def _heard(left: Tasks, task: Task, told: Told) -> Iterator[Event]:
    for event in told.read():
        assert isinstance(event, Started | Working | Finished)
        yield from left.heard(task, event)


def _settings(argument: str) -> dict[str, str | int]:
    """Read "partition=gpu,time=60".

    Raises:
        UsageError: If something is no setting.
    """
    found: dict[str, str | int] = {}
    for word in filter(None, argument.split(",")):
        name, _, value = word.partition("=")
        if name not in _SETTINGS or not value:
            must = f"--launcher slurm takes local, or NAME=VALUE of {', '.join(_SETTINGS)}"
            hint = "" if name in _SETTINGS else did_you_mean(name, _SETTINGS)
            raise UsageError(f"{must}; got '{word}'{hint}")
        if name == "gpus" and value not in ("0", "1"):
            must = "gpus must be 1 or 0, whether there are any: a case has one for each rank"
            raise UsageError(f"--launcher slurm: {must}; got '{word}'")
        found[name] = int(value) if value.isdecimal() else value
    return found


def _pause() -> None:
    time.sleep(TICK_SECONDS)
    interrupts.check()
