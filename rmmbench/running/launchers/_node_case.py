"""What a node of a cluster does with cases: each in a process of its own, as a machine alone does.

The process that a cluster's engine starts on a node only looks on, so it keeps no memory of a case.
"""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rmmbench.measures.environment import environment
from rmmbench.results.reading import content_of
from rmmbench.results.record import Environment, Record
from rmmbench.results.store import RUN_FILE, Run
from rmmbench.running.events import Event, Finished, Working
from rmmbench.running.isolation import process
from rmmbench.running.isolation.leftovers import Folder
from rmmbench.running.launchers.local import VISIBLE, LocalLauncher, Place, gpus_of
from rmmbench.spec.case import Case

# What an engine sets for a process that it starts; a case is to have what the node has.
_SET_BY_ENGINES = ("OMP_NUM_THREADS", VISIBLE)

_TOLD = ("rmmbench", "torch", "processor", "gpu")


@dataclass(frozen=True)
class Terms:
    """How cases of a run are measured on a node.

    Attributes:
        time_limit_seconds: A case that takes longer is killed.
        folder: The run directory, where the command runs.
        run_digest: Of its run.json, by which a node knows whether it has that directory too.
        here: The directory that the command runs in.
        modules: What the cases' processes import, once.
        began_on: The environment that the run began with.
    """

    time_limit_seconds: float
    folder: Path
    run_digest: str | None
    here: Path
    modules: tuple[str, ...]
    began_on: Environment

    @classmethod
    def of(cls, run: Run, modules: Sequence[str]) -> "Terms":
        """Return the terms of a run's cases."""
        folder = run.path.resolve()
        limit, began_on = run.info.profile.time_limit_seconds, run.info.environment
        return cls(limit, folder, _digest(folder), Path.cwd(), tuple(modules), began_on)


def node_environment(node: str, here: Path, modules: Sequence[str]) -> Environment:
    """Return the environment of this node, with the first of its GPUs, from a process of its own.

    Args:
        node: Its name.
        here: The directory that the command runs in; this process goes there, if it is here too.
        modules: What the processes of cases import, once.
    """
    _be_as_started(here)
    process.preload(modules)
    return _environment(node, None)


def node_events(node: str, cases: Sequence[Case], lanes: int, terms: Terms) -> Iterator[Event]:
    """Run cases on this node, and yield what `LocalLauncher` does where something has changed.

    Args:
        node: Its name.
        cases: One, or several predictions.
        lanes: How many predictions run at a time.
        terms: How they are measured.

    Raises:
        EndedError: If a process cannot be started.
    """
    visible = os.environ.get(VISIBLE) if any(map(gpus_of, cases)) else None
    _be_as_started(terms.here)
    process.preload(terms.modules)
    found = _environment(node, visible)
    places = [Place(found, {} if visible is None else {VISIBLE: visible})]
    shown: list[tuple[Case, str, float | None]] = []
    with _folder(terms) as (folder, is_shared):
        launcher = LocalLauncher(found, terms.time_limit_seconds, lanes, folder, places)
        for event in launcher.run(cases):
            if isinstance(event, Working):
                before, shown = shown, [(case, str(at), at.share) for case, at in event.running]
                if shown == before:
                    continue
            if isinstance(event, Finished):
                warnings = _warnings(event.record, terms, is_shared=is_shared)
                told = (*event.record.warnings, *warnings)
                event = Finished(event.record.model_copy(update={"warnings": told}))
            yield event


@cache
def _environment(node: str, visible: str | None) -> Environment:
    found: Environment = process.call(_seen, visible)
    return found.model_copy(update={"node": node})


def _seen(visible: str | None) -> Environment:
    """Return the environment of this process, in which CUDA is not initialised yet."""
    if visible is not None:
        os.environ[VISIBLE] = visible
    return environment()


def _be_as_started(here: Path) -> None:
    """Undo what the engine has set for this process, and work where the command does."""
    with suppress(OSError):
        entries = Path("/proc/self/environ").read_bytes().decode(errors="replace").split("\0")
        started_with = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        for name in _SET_BY_ENGINES:
            os.environ.pop(name, None)
            os.environ.update({name: started_with[name]} if name in started_with else {})
    with suppress(OSError):  # Ray's workers have niceness 15, which only root may lower again
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with suppress(OSError):
        os.chdir(here)
        if str(here) not in sys.path:
            sys.path.append(str(here))


@contextmanager
def _folder(terms: Terms) -> Iterator[tuple[Path, bool]]:
    """Give the run directory, and whether that is it; a temporary one where the node has it not."""
    if terms.run_digest is not None and _digest(terms.folder) == terms.run_digest:
        yield terms.folder, True
        return
    folder = Folder()  # if this process is killed, the next start removes it
    try:
        yield folder.path, False
    finally:
        folder.remove()


def _digest(folder: Path) -> str | None:
    content = content_of(folder / RUN_FILE)
    return None if content is None else hashlib.sha256(content).hexdigest()


def _warnings(record: Record, terms: Terms, *, is_shared: bool) -> Iterator[str]:
    """Yield what is to be known of a record that is not of the place where the run began."""
    began, found = terms.began_on, record.environment
    for name, before, now in began.changes(found):
        if name in _TOLD:
            yield f"its node has {name} {now}, the run began on {before}"
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness > 0 and (record.timing or record.training):
        yield f"it was timed with niceness {niceness}; start Ray with RAY_worker_niceness=0"
    writes = record.case.training or (record.case.timeline and gpus_of(record.case))
    if writes and not is_shared:
        yield "its node does not share the run directory: no checkpoint or snapshot is kept"
