"""Which case of a cluster runs where: what is left, what runs on which node, and what was lost."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from rmmbench.results.record import Environment, Record
from rmmbench.results.stage import Stage
from rmmbench.running.events import Event, Finished, Started, Working
from rmmbench.running.launchers.local import gpus_of, threads_beside
from rmmbench.spec.case import Case
from rmmbench.units import format_count

_TRIES: Final = 5
"""A case whose worker or node is lost so often while it runs is recorded as an error."""

_LANES: Final = 8
"""So many predictions at most share one process that has torch imported."""

_CHUNKS: Final = 2
"""A task takes so small a part of what is left that each place gets so many more, about."""

_REFUSALS: Final = 3
"""A node that so often could not even start a case is left out."""

_WAIT_SECONDS: Final = 60.0
"""For so long cases wait for a node that could run them, as it may come back."""


@dataclass(frozen=True)
class Node:
    """A machine of a cluster, and what of it the cluster may use."""

    id: str
    name: str
    cpus: int
    gpus: int


@dataclass(eq=False)
class Task:
    """Cases that were given to a node together.

    Attributes:
        cases: Those that have no record yet.
        lanes: How many of them run at a time.
        running: What runs, by the case's key.
        has_begun: Whether any of them has.
    """

    node: Node
    cases: list[Case]
    cpus: int
    gpus: int = 0
    lanes: int = 1
    running: dict[str, tuple[Case, Stage]] = field(default_factory=dict)
    has_begun: bool = False


class NoNodeError(RuntimeError):
    """No node can run what is left."""


class Tasks:
    """Cases that are given to nodes, and given again if they are lost.

    Attributes:
        waiting: What no node has, in the order in which it is started.
        tasks: What nodes have.
        moved: Cells whose cases could not all run on one node.
        refusals: By node, why it could not even start a case, each time.
    """

    def __init__(self, cases: Sequence[Case], began_on: Environment) -> None:
        """Have all cases waiting; `began_on` is for a record that no node could make."""
        self.waiting = list(cases)
        self.tasks: list[Task] = []
        self.moved: set[str] = set()
        self.refusals: dict[str, list[str]] = {}
        self._began_on = began_on
        self._begun: set[str] = set()
        self._lost: Counter[str] = Counter()

    @property
    def is_done(self) -> bool:
        """Whether every case has a record."""
        return not self.waiting and not self.tasks

    def begun(self, task: Task) -> Task:
        """Note that a node has a task."""
        self.tasks.append(task)
        return task

    def refused(self, node: Node) -> str | None:
        """Return why a node is left out; None if it is not."""
        refusals = self.refusals.get(node.id, [])
        return refusals[-1] if len(refusals) >= _REFUSALS else None

    def heard(self, task: Task, event: Event) -> Iterator[Event]:
        """Take an event of a task, and yield what is new of it."""
        match event:
            case Started(case):
                task.has_begun = True
                self.refusals.pop(task.node.id, None)
                task.running[case.key] = case, Stage("starting")
                if case.key not in self._begun:
                    self._begun.add(case.key)
                    yield event
            case Working(running):
                task.running |= {case.key: (case, stage) for case, stage in running}
            case Finished(record):
                task.running.pop(record.key, None)
                left = [case for case in task.cases if case.key != record.key]
                if len(left) < len(task.cases):
                    task.cases = left
                    yield Finished(self._with_warnings(record))

    def ended(self, task: Task, why: str) -> Iterator[Event]:
        """Have the cases wait again that a task has no record of; yield those lost too often."""
        self.tasks.remove(task)
        self._lost.update(task.running.keys())
        if task.cases and not task.running and not task.has_begun:
            self.refusals.setdefault(task.node.id, []).append(why)
        for case in reversed(task.cases):
            if self._lost[case.key] < _TRIES:
                self.waiting.insert(0, case)
            else:
                reason = f"its worker or node was lost {_TRIES} times; the last time: {why}"
                yield Finished(self._unfinished(case, reason))

    def working(self) -> Working:
        """Return what runs."""
        return Working([each for task in self.tasks for each in task.running.values()])

    def _with_warnings(self, record: Record) -> Record:
        warnings = list(record.warnings)
        if self._lost[record.key]:
            warnings.append("measured anew: the worker or node that it ran on before was lost")
        if record.case.cell in self.moved and record.case.device != "predict":
            warnings.append("other cases of its cell may have run on a node that was lost")
        return record.model_copy(update={"warnings": tuple(warnings)})

    def _unfinished(self, case: Case, reason: str) -> Record:
        parts = ("memory", "timing", "conditions", "counts")
        return Record(
            key=case.key,
            case=case,
            outcome="error",
            stage=str(Stage("starting")),
            reason=reason,
            environment=self._began_on,
            missing=dict.fromkeys(parts, "its process was lost"),
        )


class Spread(Tasks):
    """Some cases, and on which node they run; all predictions, or none."""

    def __init__(
        self,
        cases: Sequence[Case],
        homes: dict[str, str],
        cpus_per_case: int,
        began_on: Environment,
    ) -> None:
        """Have all cases waiting.

        Args:
            cases: In the order in which they are started.
            homes: By cell, the name of the node that its cases run on; it is added to.
            cpus_per_case: Of a case that others may run beside.
            began_on: The environment of a record that no node could make.
        """
        super().__init__(cases, began_on)
        self._homes, self._cpus = homes, cpus_per_case
        self._possible_at = monotonic()

    def next_tasks(self, alive: Sequence[Node]) -> Iterator[Task]:
        """Yield what to start now, the emptiest of the nodes that live first.

        Raises:
            NoNodeError: If no node can start a case, or for long none could run what waits.
        """
        nodes = [node for node in alive if self.refused(node) is None]
        self._forget_homes({node.name for node in nodes})
        while self.waiting:
            by_room = sorted(nodes, key=self._room, reverse=True)
            task = next(filter(None, map(self._next, by_room)), None)
            if task is None:
                break
            yield self.begun(task)
        if self.tasks:
            self._possible_at = monotonic()
            return
        if alive and not nodes:
            raise NoNodeError(f"no node can start a case: {self.refused(alive[0])}")
        if monotonic() - self._possible_at > _WAIT_SECONDS:
            gpus = gpus_of(self.waiting[0])
            gpu = f"{format_count(gpus, 'GPU')} and " if gpus else ""
            cpus = format_count(self._cpus, "CPU")
            raise NoNodeError(
                f"no node of the cluster has {gpu}{cpus} for a case; add one that has"
            )

    def _next(self, node: Node) -> Task | None:
        """Take from what waits the next that this node has room for."""
        cpus, gpus = self._room(node)
        if cpus < 1:
            return None
        if self.waiting[0].device == "predict":
            return self._chunk(node, cpus) if cpus >= self._cpus else None
        for index, case in enumerate(self.waiting):
            needs = self._needs(case, node)
            if needs is not None and needs[0] <= cpus and needs[1] <= gpus:
                self._homes.setdefault(case.cell, node.name)
                return Task(node, [self.waiting.pop(index)], *needs)
        return None

    def _chunk(self, node: Node, cpus: int) -> Task:
        lanes = min(_LANES, cpus // self._cpus)
        places = _CHUNKS * (len(self.tasks) + 1)
        count = max(lanes, min(4 * lanes, len(self.waiting) // places))
        cases, self.waiting = self.waiting[:count], self.waiting[count:]
        return Task(node, cases, lanes * self._cpus, lanes=lanes)

    def _needs(self, case: Case, node: Node) -> tuple[int, int] | None:
        """Return the CPUs and GPUs that a case takes of a node; None if it must not run there."""
        if self._homes.get(case.cell, node.name) != node.name:
            return None
        if gpus_of(case):
            return self._cpus, gpus_of(case)
        threads = threads_beside(case)
        return min(node.cpus, threads or node.cpus), 0

    def _forget_homes(self, alive: set[str]) -> None:
        for cell in [cell for cell, home in self._homes.items() if home not in alive]:
            del self._homes[cell]
            self.moved.add(cell)

    def _room(self, node: Node) -> tuple[int, int]:
        """Return how many CPUs and GPUs of a node no task has."""
        mine = [task for task in self.tasks if task.node.id == node.id]
        cpus, gpus = sum(task.cpus for task in mine), sum(task.gpus for task in mine)
        return node.cpus - cpus, node.gpus - gpus
