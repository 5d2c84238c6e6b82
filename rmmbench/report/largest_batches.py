"""The largest batch that fits, searched for from Python as `rmmbench max-batch` does."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rmmbench.report.tables.batch_table import batch_table
from rmmbench.report.tables.table import Table
from rmmbench.running.batch_search import Search, search_profile, unfinished
from rmmbench.running.execution import open_run
from rmmbench.running.factories import Factory, importable
from rmmbench.running.one_run import axes_of
from rmmbench.running.plan import check_names, make_plan
from rmmbench.running.progress import show_nothing, show_progress

_OWN = ("memory", "device", "profile", "time", "out", "retry", "quiet")


def max_batch(
    model: str | Factory,
    *,
    memory: str = "24GiB",
    device: str = "auto",
    profile: str | Path = "frontier",
    time: bool | None = None,
    out: str | Path | None = None,
    retry: bool = False,
    quiet: bool = False,
    **axes: Any,
) -> Table:
    """Find the largest batch that fits in a given memory, for each way of saving.

    Each batch that is tried runs in a process of its own; on "predict" nothing is allocated, and no
    GPU is needed. The result shows itself as a table. Its `frame()` has a row a method, with
    `largest_batch_size` and `largest_peak_bytes`, and what of the next larger batch is known.

    Args:
        model: As `predict` takes it.
        memory: How much there is: "24GiB".
        device: "cuda", "cpu", "predict", or "auto": the GPU where there is one, else "predict".
        profile: A name of `rmmbench list profiles`, or the path of a TOML file: the methods and
            their settings are its own.
        time: Whether to time the largest batches; on a GPU alone if not given.
        out: A run directory that keeps what was tried; the same call, made once more, goes on where
            it stopped. Nothing is kept if not given.
        retry: Measure batches again that failed.
        quiet: Tell nothing while it runs.
        axes: Take the place of an axis of the profile: method, sketch, rho, task, seq_len, dtype …,
            one value or several.

    Raises:
        TypeError: If an argument has no such name.
        UnknownNameError: If no model, method, sketch, profile or device has a name.
        UsageError: If a value cannot be, or the memory does not even hold the model's parameters.
        RunError: If `out` holds another run, is in use or cannot be written.

    Examples:
        >>> import rmmbench
        >>> ways = {"method": ["exact", "rmm"], "sketch": "oporp", "rho": 0.1, "where": "all"}
        >>> asked = {"memory": "3MiB", "device": "predict", "quiet": True}
        >>> found = rmmbench.max_batch("mlp:32-256-256-4", share=True, **ways, **asked)
        >>> exact, sketched = found.frame().largest_batch_size
        >>> bool(sketched > exact)
        True
    """
    changes = axes_of(axes, but=("model", "batch_size"), others=_OWN)
    with importable(model) as name, TemporaryDirectory(prefix="rmmbench-") as folder:
        chosen = search_profile(str(profile), name, memory, changes)
        check_names(chosen.cases("predict", "cpu"))
        plan = make_plan(chosen, device)
        search = Search.of(plan, memory, is_timed=time)
        path = Path(folder, "run") if out is None else Path(out)
        about = {
            "name": str(profile),
            "command": f"rmmbench.max_batch({name!r}, memory={memory!r})",
        }
        run = open_run(path, chosen, search.cases, plan.environment, **about)
        follow = show_nothing if quiet else show_progress
        lines = search.carry_out(run, retry=retry, follow=follow)
        warnings = [
            f"{each.outcome}: {each.case.title}: {each.reason}" for each in unfinished(lines)
        ]
        return replace(batch_table(lines, run.info.environment), warnings=tuple(warnings))
