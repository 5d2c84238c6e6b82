"""Prepares a search for the largest batch, and carries it out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rmmbench.errors import UsageError
from rmmbench.results.record import Record
from rmmbench.results.store import Run
from rmmbench.running.execution import Follow, holding, on
from rmmbench.running.largest_batch import FIRST, Line, find, found, parameter_bytes
from rmmbench.running.launchers.launcher import Machines
from rmmbench.running.sweep_plan import Plan
from rmmbench.spec import profile as profiles
from rmmbench.spec.case import Case
from rmmbench.spec.grid import WITHOUT_LENGTH
from rmmbench.spec.profile import Profile
from rmmbench.units import format_bytes, parse_bytes


def search_profile(name: str, model: str, memory: str, axes: Mapping[str, Any]) -> Profile:
    """Return a profile whose grids measure the memory of one model.

    Args:
        name: The name or path of the profile that has the methods and their settings.
        model: The model's name.
        memory: The memory to fit in: "24GiB".
        axes: Replace axes of every grid.

    Raises:
        UsageError: If the memory is not a size above 0, or an axis has an invalid value.
        ProfileError: If the profile cannot be read.
    """
    _limit(memory)
    chosen = profiles.load(name)
    # A length goes with its task, and not with every model.
    has_other_length = "task" in axes or model.partition(":")[0] in WITHOUT_LENGTH
    changes: dict[str, Any] = {"seq_len": ()} if has_other_length else {}
    changes |= {"task": axes["task"]} if "task" in axes else {}
    about = {
        "title": f"The largest batch of {model} that fits in {memory}",
        "device_limit": profiles.DeviceLimit(name="limit", memory=memory),
        "grid": tuple(grid.model_copy(update=changes) for grid in chosen.grid),
    }
    asked = {"model": (model,), "batch_size": (FIRST,), "measure": ("memory",)}
    return chosen.model_copy(update=about).overridden({**axes, **asked})


@dataclass(frozen=True)
class Search:
    """A search for the largest batch of each of several cases.

    Attributes:
        cases: The cases at batch size 1, with the memory limit.
        time_device: Where the largest batches are timed; None if they are not.
    """

    cases: list[Case]
    time_device: Literal["cuda", "cpu"] | None

    @classmethod
    def of(cls, plan: Plan, memory: str, *, is_timed: bool | None) -> "Search":
        """Return the search for a plan.

        Args:
            plan: The plan of a `search_profile`.
            memory: The memory to fit in: "24GiB".
            is_timed: Whether to time the largest batches; None for only on a GPU.

        Raises:
            UsageError: If the memory does not even hold the model's parameters.
        """
        limit = _limit(memory)
        cases = _limited(plan.cases, limit)
        needed = parameter_bytes(cases[0])
        if needed is not None and limit <= needed:
            least = f"the {format_bytes(needed)} of {cases[0].model}'s own parameters"
            raise UsageError(f"memory must be above {least}, got '{memory}'")
        has_gpu = cases[0].memory_device == "cuda"
        time_device: Literal["cuda", "cpu"] = "cuda" if has_gpu else "cpu"
        return cls(cases, time_device if (has_gpu if is_timed is None else is_timed) else None)

    def carry_out(
        self, run: Run, *, retry: bool, follow: Follow, machines: Machines | None = None
    ) -> list[Line]:
        """Search, and return a line per case; batches that `run` has records of are not repeated.

        Args:
            run: The run of `cases`, which takes the records.
            retry: Measure failed batches again.
            follow: Goes through the events to the end.
            machines: What measures; by default this machine.

        Raises:
            RunError: If the directory is in use, or cannot be written.
            EndedError: If no process can be started.
            Interrupted: By a signal; the message says what is kept.
        """
        with holding(run, "probes"), on(machines) as here:
            follow(find(run, self.cases, here.launcher(run), self.time_device, retry=retry))
        return found(run.records(), self.cases, self.time_device)


def unfinished(lines: Iterable[Line]) -> list[Record]:
    """Return the records of failures that ended a search early, or the timing of its result."""
    ended = [record for line in lines for record in (line.trouble, line.timed) if record]
    return [record for record in ended if record.outcome != "ok"]


def _limit(memory: str) -> int:
    try:
        limit = parse_bytes(memory)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if limit == 0:
        raise UsageError(f"memory must be above 0, got '{memory}'")
    return limit


def _limited(cases: list[Case], limit: int) -> list[Case]:
    """Return the distinct cases at batch size 1 with the limit, those of a cell together."""
    changes = {"batch_size": 1, "memory_limit_bytes": limit}
    limited = [case.model_copy(update=changes) for case in cases]
    cells = list(dict.fromkeys(case.cell for case in limited))
    by_key = {case.key: case for case in limited}
    return sorted(by_key.values(), key=lambda case: cells.index(case.cell))
