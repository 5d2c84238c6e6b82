"""Cases spread over a Ray cluster: on each node as a machine alone runs them, and recorded here.

Ray may end the process that speaks with a cluster, so that is another one than this: what was told
until then is recorded here, where nothing is imported of Ray.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from rmmbench.errors import UsageError
from rmmbench.results.record import Environment
from rmmbench.results.store import Run
from rmmbench.running.events import Event
from rmmbench.running.isolation import fork_server
from rmmbench.running.isolation.conversation import Answer, Conversation
from rmmbench.running.isolation.fork_server import EndedError
from rmmbench.running.launchers._node_case import Terms
from rmmbench.running.launchers._nodes import best_known, homes_of
from rmmbench.running.launchers.launcher import Launch
from rmmbench.spec.case import Case

_SILENT_SECONDS = 90.0
"""The process that speaks with the cluster may be silent so long; mostly it is half a second."""


class Surroundings(NamedTuple):
    """The question what the nodes are; the answer has an `Environment` of each."""

    modules: tuple[str, ...]
    here: Path


@dataclass(frozen=True)
class Work:
    """The question to run cases; the answer has their events.

    Attributes:
        homes: By cell, the name of the node that earlier cases of it ran on.
    """

    cases: tuple[Case, ...]
    terms: Terms
    homes: dict[str, str]


class RayCluster:
    """A Ray cluster that this machine is part of."""

    def __init__(self, launch: Launch) -> None:
        """Use the cluster whose address is `launch.argument`; it is joined when it is asked.

        Raises:
            UsageError: If Ray is not installed.
        """
        if find_spec("ray") is None:
            need = "--launcher ray needs ray, which is not installed"
            raise UsageError(f"{need}; pip install 'rmmbench[ray]'")
        self._launch = launch
        self._joined: Conversation | None = None

    def environment(self) -> Environment:
        """Return the environment of a node, of one with a GPU if there is any.

        Raises:
            UsageError: If there is no cluster, its nodes have fewer CPUs than a case is to have,
                or versions differ that must not.
            EndedError: If the cluster does not answer.
        """
        question = Surroundings(tuple(fork_server.server().modules), Path.cwd())
        try:
            told = list(_asked(self._conversation(), question))
        except EndedError as error:
            raise EndedError(f"{error}; see `ray status`, or start it anew") from None
        return best_known([each for each in told if isinstance(each, Environment)])

    def launcher(self, run: Run) -> "RayLauncher":
        """Return what measures the cases of a run on the cluster."""
        terms = Terms.of(run, fork_server.server().modules)
        return RayLauncher(self._conversation(), Work((), terms, homes_of(run.records())))

    def close(self) -> None:
        """Leave the cluster; what runs there ends."""
        if self._joined is not None:
            self._joined.end()

    def _conversation(self) -> Conversation:
        """Return what speaks with the cluster, once the server that it is forked from is there."""
        if self._joined is None:
            cpus = self._launch.cpus_per_case or 1
            self._joined = Conversation(_joined, self._launch.argument, cpus)
        return self._joined


class RayLauncher:
    """Runs each case on a node of a Ray cluster, those of a cell on one."""

    def __init__(self, joined: Conversation, work: Work) -> None:
        """Run cases by the terms of `work`."""
        self._joined, self._work = joined, work

    def run(self, cases: Sequence[Case]) -> Iterator[Event]:
        """Yield events until every case is finished.

        Raises:
            EndedError: If the cluster is lost, or no node can run what is left.
        """
        if not cases:
            return
        for told in _asked(self._joined, replace(self._work, cases=tuple(cases))):
            assert isinstance(told, Event)
            yield told


def _asked(joined: Conversation, question: object) -> Iterator[object]:
    try:
        yield from joined.ask(question, _SILENT_SECONDS)
    except EndedError as error:
        raise EndedError(f"the Ray cluster stopped working: {error}") from None


def _joined(address: str, cpus_per_case: int) -> Answer:
    from rmmbench.running.launchers._ray_driver import Cluster

    return Cluster(address, cpus_per_case).answer
