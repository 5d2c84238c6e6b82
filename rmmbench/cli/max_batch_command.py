"""`rmmbench max-batch`: the largest batch that fits in a given memory, by method."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rmmbench.cli import completing
from rmmbench.cli.options import (
    AXES,
    AsJson,
    Axes,
    Devices,
    ModelName,
    Out,
    Retry,
    takes_axes,
)
from rmmbench.cli.run_cases import Asked, follow, tell_how_to_retry, typed
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import note, tell
from rmmbench.errors import Exit, UsageError

if TYPE_CHECKING:
    from rmmbench.results.store import Run
    from rmmbench.running.largest_batch import Line
    from rmmbench.spec.case import Case
    from rmmbench.spec.profile import Profile


@takes_axes(*(name for name in AXES if name not in ("model", "batch_size")))
def max_batch(
    model: ModelName,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="How much there is, such as 16GiB.")],
    axes: Axes,
    profile: Annotated[
        str,
        typer.Option(
            metavar="PROFILE",
            autocompletion=completing.profiles,
            help="The profile that the methods and their settings are of.",
        ),
    ] = "frontier",
    time: Annotated[
        bool | None, typer.Option("--time/--no-time", help="Time the largest batch; so on a GPU.")
    ] = None,
    device: Devices = None,
    out: Out = None,
    retry: Retry = False,
    as_json: AsJson = False,
) -> None:
    """Find the largest batch that fits in a given memory, for each way of saving.

    Each batch that is tried runs in a process of its own and leaves a record in the run directory;
    none is above one that did not fit. That is runs/max-batch-MODEL-MEMORY-DEVICE, unless --out
    names another. On `predict` nothing is allocated, and no GPU is needed; auto is a GPU, or
    without one `predict`.

    The same command, run again, goes on where it stopped.

    Examples:
      rmmbench max-batch roberta-base --memory 16GiB --device predict
      rmmbench max-batch hf:gpt2 --memory 24GiB --seq-len 512 --method checkpoint
    """
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.batch_table import batch_table
    from rmmbench.running.largest_batch import find, found

    limit = _limit(memory)
    chosen = _profile(profile, model, axes, memory)
    asked = Asked(profile, chosen, device, out, f"max-batch-{model}-{memory}")
    asked.begin(f"the largest batch of {model} in {memory}")
    from rmmbench.running.execution import holding, launcher_of, open_run

    plan = asked.plan()
    cases = _cases(plan.cases, limit)
    _check_limit(memory, limit, cases[0])
    place = str(cases[0].memory_device)
    time_device = _time_device(place, is_asked=place == "cuda" if time is None else time)
    run = open_run(asked.path, chosen, cases, plan.environment, name=profile, command=typed())
    with holding(run, "probes"):
        if before := len(run.records()):
            note(f"{run.path} has {before} probes already")
        follow(find(run, cases, launcher_of(run), time_device, retry=retry))
    lines = found(run.records(), cases, time_device)
    table = batch_table(lines, run.info.environment)
    if as_json:
        about = {"model": model, "memory_limit_bytes": limit, "device": place}
        write_json(about | {"methods": table.data()})
    else:
        print_tables([table])
    _end(lines, run)


def _limit(memory: str) -> int:
    from rmmbench.units import parse_bytes

    try:
        limit = parse_bytes(memory)
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from None
    if limit == 0:
        raise UsageError(f"--memory must be above 0, got '{memory}'")
    return limit


def _profile(name: str, model: str, axes: Axes, memory: str) -> "Profile":
    """Return a profile whose every grid is about memory alone, and about this model."""
    from rmmbench.running.largest_batch import FIRST
    from rmmbench.spec import profile as profiles
    from rmmbench.spec.grid import WITHOUT_LENGTH

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
    return chosen.model_copy(update=about).overridden(axes | asked)


def _cases(cases: "list[Case]", limit: int) -> "list[Case]":
    """Return each case that is another but for its batch size, at batch size 1, with the limit."""
    changes = {"batch_size": 1, "memory_limit_bytes": limit}
    limited = [case.model_copy(update=changes) for case in cases]
    cells = list(dict.fromkeys(case.cell for case in limited))
    by_key = {case.key: case for case in limited}
    return sorted(by_key.values(), key=lambda case: cells.index(case.cell))


def _check_limit(memory: str, limit: int, case: "Case") -> None:
    from rmmbench.running.largest_batch import parameter_bytes
    from rmmbench.units import format_bytes

    needed = parameter_bytes(case)
    if needed is not None and limit <= needed:
        least = f"the {format_bytes(needed)} of {case.model}'s own parameters"
        raise UsageError(f"--memory must be above {least}, got '{memory}'")


def _time_device(device: str, *, is_asked: bool) -> Literal["cuda", "cpu"] | None:
    if not is_asked:
        return None
    return "cuda" if device == "cuda" else "cpu"


def _end(lines: "list[Line]", run: "Run") -> None:
    """Say what ended before its end, and leave with the exit code of that, if anything failed."""
    ended = [record for line in lines for record in (line.trouble, line.timed) if record]
    ended = [record for record in ended if record.outcome != "ok"]
    for record in ended:
        tell(f"{record.outcome}: {record.case.title}, while {record.stage}: {record.reason}")
    tell_how_to_retry(ended)
    note(f"records: {run.path}   every probe: rmmbench table {run.path}")
    if any(record.has_failed for record in ended):
        raise typer.Exit(Exit.SOME_FAILED)
