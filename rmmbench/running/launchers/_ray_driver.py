"""What speaks with a Ray cluster, in a process of its own, which Ray ends if the head is lost.

A node is chosen here for each case; Ray brings it there, and waits until the node's CPUs or GPU are
free of other jobs. A case whose node or worker is lost is started again here, not by Ray: only here
is it known which records have come.
"""

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rmmbench.errors import UsageError
from rmmbench.running.events import Working
from rmmbench.running.isolation.process import TICK_SECONDS
from rmmbench.running.launchers._node_case import Terms, node_environment, node_events
from rmmbench.running.launchers._spreading import Node, Spread, Task
from rmmbench.running.launchers.ray import Surroundings, Work

_REACH_SECONDS = 3.0
_PORTS = set(map(str, range(1, 2**16)))
_LOOK_SECONDS = 1.0
_HEAD_SECONDS = 5.0
"""So long a head may not answer, as it may be started again."""

# Each is handed to the head once: to start a case must not wait for a head that is gone.
_ENVIRONMENT, _EVENTS = ray.remote(node_environment), ray.remote(node_events)


class Cluster:
    """A Ray cluster that this process has joined."""

    def __init__(self, address: str, cpus_per_case: int) -> None:
        """Join the cluster at `address`; "" is the one that RAY_ADDRESS names or that runs here.

        Raises:
            UsageError: If there is none, or it cannot be joined.
        """
        _join(address)
        self._cpus_per_case = cpus_per_case
        self._names: dict[str, str] = {}
        self._nodes: list[Node] = []
        self._looked_at = float("-inf")
        self._homes: dict[str, str] = {}

    def answer(self, question: Surroundings | Work) -> Iterator[object]:
        """Yield the answer to a question, and now and then that time has passed."""
        if isinstance(question, Surroundings):
            yield from self._environments(question)
        else:
            yield from self._work(question)

    def nodes(self, *, anew: bool = False) -> list[Node]:
        """Return the nodes that live and have something to run cases on, as they were lately.

        Args:
            anew: As they are now.

        Raises:
            RuntimeError: If the head does not answer.
        """
        if anew or time.monotonic() - self._looked_at > _LOOK_SECONDS:
            _require_head()  # as Ray would wait for it, and then end this process
            self._nodes = self._living(ray.nodes())  # type: ignore[no-untyped-call]
            self._looked_at = time.monotonic()
        return self._nodes

    def _living(self, found: list[dict[str, Any]]) -> list[Node]:
        alive = [each for each in found if each["Alive"]]
        hosts = [each["NodeManagerHostname"] for each in alive]
        for each, host in zip(alive, hosts, strict=True):
            is_alone = hosts.count(host) == 1
            number = each["NodeID"]
            self._names.setdefault(number, host if is_alone else f"{host}-{number[:6]}")
        return [
            Node(each["NodeID"], self._names[each["NodeID"]], *_sizes(each["Resources"]))
            for each in alive
            if any(_sizes(each["Resources"]))
        ]

    def _environments(self, question: Surroundings) -> Iterator[object]:
        most = max((node.cpus for node in self.nodes()), default=0)
        if 0 < most < self._cpus_per_case:
            must = f"--cpus-per-case must be at most {most}, as no node of the cluster has more"
            raise UsageError(f"{must}; got {self._cpus_per_case}")
        asked = {}
        for node in self.nodes():
            remote = _ENVIRONMENT.options(num_cpus=0, **_on(node.id))
            asked[remote.remote(node.name, question.here, question.modules)] = node
        while asked:
            yield Working(())
            ready, _ = ray.wait(list(asked), timeout=TICK_SECONDS)
            for reference in ready:
                node = asked.pop(reference)
                try:
                    yield ray.get(reference)
                except RayError as error:
                    if node.id in {each.id for each in self.nodes(anew=True)}:
                        need = "install there what is installed here"
                        raise UsageError(f"{node.name}: {_line(error)}; {need}") from None

    def _work(self, work: Work) -> Iterator[object]:
        self._homes = work.homes | self._homes
        predicted = [case for case in work.cases if case.device == "predict"]
        measured = [case for case in work.cases if case.device != "predict"]
        # What is timed has no predictions beside it.
        for cases in filter(None, (predicted, measured)):
            spread = Spread(cases, self._homes, self._cpus_per_case, work.terms.began_on)
            yield from self._spread(spread, work.terms)

    def _spread(self, spread: Spread, terms: Terms) -> Iterator[object]:
        running: dict[Any, Task] = {}
        while not spread.is_done:
            for task in spread.next_tasks(self.nodes()):
                running[_started(task, terms)] = task
            if running:
                ready, _ = ray.wait(list(running), timeout=TICK_SECONDS)
                for stream in ready:
                    yield from self._hear(spread, running, stream)
            else:
                time.sleep(TICK_SECONDS)  # until a node comes back
            yield spread.working()

    def _hear(self, spread: Spread, running: dict[Any, Task], stream: Any) -> Iterator[object]:
        """Take one event of a task, or its end."""
        task = running[stream]
        try:
            yield from spread.heard(task, ray.get(next(stream)))
        except StopIteration:
            del running[stream]
            yield from spread.ended(task, "its task ended without a record")
        except RayError as error:
            del running[stream]
            self.nodes(anew=True)
            yield from spread.ended(task, _line(error))


def _join(asked: str) -> None:
    address = asked or os.environ.get("RAY_ADDRESS") or "auto"
    host, _, port = address.rpartition(":")
    # Of "local" Ray would start a cluster.
    if address != "auto" and not (host and "/" not in host and port in _PORTS):
        must = "must be HOST:PORT of a cluster that this machine is part of"
        name = "--launcher ray:ADDRESS" if asked else "RAY_ADDRESS"
        raise UsageError(
            f"{name} {must}, got '{address}'; or run the command with `ray job submit`"
        )
    try:
        if address != "auto":
            socket.create_connection((host, int(port)), _REACH_SECONDS).close()
        ray.init(address, log_to_driver=False, configure_logging=False)
    except ConnectionError as error:
        if address == "auto":
            how = "start one with `ray start --head`, or name it in --launcher ray:HOST:PORT"
            raise UsageError(f"no Ray cluster runs on this machine; {how}") from None
        raise _unreachable(address, error) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreachable(address, error) from None


def _require_head() -> None:
    address = ray.get_runtime_context().gcs_address
    host, _, port = address.rpartition(":")
    begun = time.monotonic()
    while True:
        try:
            socket.create_connection((host, int(port)), _REACH_SECONDS).close()
        except OSError as error:
            if time.monotonic() - begun > _HEAD_SECONDS:
                raise RuntimeError(f"its head at {address} does not answer: {error}") from None
            time.sleep(TICK_SECONDS)
        else:
            return


def _unreachable(address: str, error: Exception) -> UsageError:
    hint = "join it with `ray start --address`, with the same versions of Ray and Python"
    return UsageError(f"the Ray cluster at {address} cannot be reached: {_line(error)}; {hint}")


def _started(task: Task, terms: Terms) -> Any:
    """Bring a task to its node, and return the stream of its events."""
    remote = _EVENTS.options(
        num_returns="streaming",
        num_cpus=task.cpus,
        num_gpus=task.gpus,
        max_retries=0,
        **_on(task.node.id),
    )
    return remote.remote(task.node.name, task.cases, task.lanes, terms)


def _on(node: str) -> dict[str, Any]:
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def _sizes(resources: dict[str, float]) -> tuple[int, int]:
    return int(resources.get("CPU", 0)), int(resources.get("GPU", 0))


def _line(error: Exception) -> str:
    """Return what an error says, in one line: of one that was raised on a node, its last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    is_traceback = any("Traceback" in line or line.startswith("File ") for line in lines)
    return (lines[-1] if is_traceback else lines[0])[:300]
