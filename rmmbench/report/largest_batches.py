"""`rmmbench.max_batch`: the search for the largest batch that fits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rmmbench.errors import UsageError
from rmmbench.report.tables.batch_table import batch_table
from rmmbench.report.tables.table import Table
from rmmbench.results.store import Run
from rmmbench.running.batch_search import Search, search_profile, unfinished
from rmmbench.running.execution import open_run
from rmmbench.running.factories import Factory, importable, name_of
from rmmbench.running.largest_batch import Line
from rmmbench.running.launchers.launcher import Launch
from rmmbench.running.one_run import as_call, axes_of
from rmmbench.running.progress import show_nothing, show_progress
from rmmbench.running.sweep_plan import check_names, make_plan

_WHERE = ("launcher", "devices", "cpus_per_case")
_OWN = ("memory", "device", "profile", "time", "out", *_WHERE, "retry", "quiet")
_USUAL = ("auto", "frontier", "local", (), None)


def max_batch(
    model: str | Factory,
    *,
    memory: str = "24GiB",
    device: str = "auto",
    profile: str | Path = "frontier",
    time: bool | None = None,
    out: str | Path | None = None,
    launcher: str = "local",
    devices: Sequence[int] = (),
    cpus_per_case: int | None = None,
    retry: bool = False,
    quiet: bool = False,
    **axes: Any,
) -> Table:
    """Find the largest batch that fits in a given memory, for each way of saving.

    Each batch that is tried runs in its own process; "predict" allocates nothing and needs no GPU.
    The result prints as a table. Its `frame()` has a row per method, with `largest_batch_size`,
    `largest_peak_bytes`, and what is known of the smallest batch that does not fit.

    Args:
        model: As `predict` takes it.
        memory: The memory to fit in: "24GiB".
        device: "cuda", "cpu", "predict", or "auto": the GPU if there is one, else "predict".
        profile: The methods and their settings: a name of `rmmbench list profiles`, or the path of
            a TOML file.
        time: Whether to time the largest batches; by default only on a GPU.
        out: A run directory that keeps the records; the same call goes on where it stopped. By
            default nothing is kept.
        launcher: As `run` takes it, with devices and cpus_per_case. On a cluster a function must be
            of a module that nodes can import.
        devices: Numbers of this machine's GPUs, each of which tries one batch at a time.
        cpus_per_case: On a cluster, CPUs of a batch that others may be tried beside.
        retry: Whether to measure failed batches again.
        quiet: Whether to show no progress.
        axes: Replace axes of the profile: method, sketch, rho, task, seq_len, dtype …, each one
            value or several.

    Raises:
        TypeError: If there is no argument of a name.
        UnknownNameError: If there is no model, method, sketch, profile or device of a name.
        UsageError: If a value is invalid, the memory does not even hold the model's parameters, or
            there is no such cluster.
        RunError: If `out` holds another run, is in use or cannot be written.

    Examples:
        >>> import rmmbench
        >>> ways = {"method": ["exact", "rmm"], "sketch": "oporp", "rho": 0.1, "where": "all"}
        >>> asked = {"memory": "64MiB", "device": "predict", "quiet": True}
        >>> found = rmmbench.max_batch("mlp:32-256-256-4", share=True, **ways, **asked)
        >>> exact, *sketched = found.frame().largest_batch_size  # in float32, and in few bits
        >>> bool(min(sketched) > exact)
        True
    """
    launch = Launch.of(launcher, devices, cpus_per_case)
    changes = axes_of(axes, but=("model", "batch_size"), others=_OWN)
    given: dict[str, Any] = {"memory": memory, "device": device, "profile": str(profile)}
    given |= {"time": time, "launcher": launcher, "devices": launch.devices}
    given |= {"cpus_per_case": cpus_per_case}
    told = {each: value for each, value in given.items() if value not in _USUAL} | axes
    show = partial(show_nothing if quiet else show_progress, noun="probe")
    with _name_for(launch, model) as name, TemporaryDirectory(prefix="rmmbench-") as folder:
        chosen = search_profile(str(profile), name, memory, changes)
        check_names(chosen.cases("predict", "cpu"))
        path = Path(folder, "run") if out is None else Path(out)
        about = {"name": str(profile), "command": as_call("max_batch", name, **told)}
        with launch.machines() as machines:
            plan = make_plan(chosen, device, machines=machines)
            search = Search.of(plan, memory, is_timed=time)
            run = open_run(path, chosen, search.cases, plan.environment, **about)
            lines = search.carry_out(run, retry=retry, follow=show, machines=machines)
        return _table(lines, run)


@contextmanager
def _name_for(launch: Launch, model: str | Factory) -> Iterator[str]:
    """Give the name by which the processes of cases find a model."""
    with importable(model) as name:
        if launch.name != "local" and name != name_of(model):
            must = "be in a file of its own, which nodes can import"
            raise UsageError(f"with launcher '{launch.name}' a model's function must {must}")
        yield name


def _table(lines: list[Line], run: Run) -> Table:
    troubles = [f"{each.outcome}: {each.case.title}: {each.reason}" for each in unfinished(lines)]
    return replace(batch_table(lines, run.info.environment), warnings=tuple(troubles))
