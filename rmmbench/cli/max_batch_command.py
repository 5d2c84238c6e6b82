"""`rmmbench max-batch`: the largest batch that fits in a given memory, by method."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rmmbench.cli import axes as flags
from rmmbench.cli.flags import Device
from rmmbench.cli.run_cases import tell_how_to_retry, typed
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import tell
from rmmbench.errors import Exit, UsageError

if TYPE_CHECKING:
    from rmmbench.results.store import Run
    from rmmbench.running.largest_batch import Line
    from rmmbench.spec.case import Case
    from rmmbench.spec.profile import Profile


def max_batch(
    model: Annotated[
        str, typer.Argument(help="A name of `rmmbench list models`, or hf:, import:.")
    ],
    memory: Annotated[str, typer.Option(help="How much there is, such as 16GiB.")],
    profile: Annotated[
        str, typer.Option(help="Whose methods and settings; a name, or a path.")
    ] = "frontier",
    device: Annotated[
        Device, typer.Option(help="Where; auto is cuda if there is one, else predict.")
    ] = Device.AUTO,
    method: flags.Methods = None,
    sketch: flags.Sketches = None,
    rho: flags.Rhos = None,
    task: Annotated[str | None, typer.Option(help="A task, for its shape.")] = None,
    seq_len: flags.SeqLens = None,
    dtype: flags.Dtypes = None,
    attention: flags.Attentions = None,
    optimizer: flags.Optimizers = None,
    seed: flags.Seeds = None,
    time: Annotated[
        bool | None, typer.Option("--time/--no-time", help="Time the largest; so on cuda.")
    ] = None,
    out: flags.Out = None,
    retry: flags.Retry = False,
    as_json: flags.AsJson = False,
) -> None:
    """Find the largest batch that fits in a given memory, for each way of saving.

    Each batch that is tried runs in a process of its own and leaves a record; none is above one
    that did not fit. On `predict` nothing is allocated, and no GPU is needed.

    The same command, run again, goes on where it stopped.

    Examples:
      rmmbench max-batch roberta-base --memory 16GiB --device predict
      rmmbench max-batch hf:gpt2 --memory 24GiB --seq-len 512 --method checkpoint
    """
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.batch_table import batch_table
    from rmmbench.running.execution import open_run
    from rmmbench.running.largest_batch import found
    from rmmbench.running.plan import make_plan

    limit = _limit(memory)
    axes = flags.axes(
        method=method,
        sketch=sketch,
        rho=rho,
        seq_len=seq_len,
        dtype=dtype,
        attention=attention,
        optimizer=optimizer,
        seed=seed,
    )
    chosen = _profile(profile, model, task, axes, memory)
    plan = make_plan(chosen, device.value)
    cases = _cases(plan.cases, limit)
    _check_limit(memory, limit, cases[0])
    place = str(cases[0].memory_device)
    time_device = _time_device(place, is_asked=place == "cuda" if time is None else time)
    name = re.sub(r"[:/\s]+", "-", f"max-batch-{model}-{memory}-{place}")
    path = out or Path("runs") / name
    run = open_run(path, chosen, cases, plan.environment, name=profile, command=typed())
    _find(run, cases, time_device, retry=retry)
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


def _profile(
    name: str, model: str, task: str | None, axes: dict[str, Any], memory: str
) -> "Profile":
    """Return a profile whose every grid is about memory alone, and about this model."""
    from rmmbench.running.largest_batch import FIRST
    from rmmbench.spec import profile as profiles
    from rmmbench.spec.grid import WITHOUT_LENGTH

    chosen = profiles.load(name)
    # A length goes with its task, and not with every model.
    has_other_length = task is not None or model.partition(":")[0] in WITHOUT_LENGTH
    changes: dict[str, Any] = {"seq_len": ()} if has_other_length else {}
    changes |= {"task": (task,)} if task else {}
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


def _find(
    run: "Run", cases: "list[Case]", time_device: Literal["cuda", "cpu"] | None, *, retry: bool
) -> None:
    from rmmbench.running.execution import holding, launcher_of
    from rmmbench.running.largest_batch import find
    from rmmbench.running.progress import show_progress

    with holding(run, "probes"):
        before = len(run.records())
        if before:
            tell(f"{run.path} has {before} probes already")
        show_progress(find(run, cases, launcher_of(run), time_device, retry=retry))


def _end(lines: "list[Line]", run: "Run") -> None:
    """Say what ended before its end, and leave with the exit code of that, if anything failed."""
    ended = [record for line in lines for record in (line.trouble, line.timed) if record]
    ended = [record for record in ended if record.outcome != "ok"]
    for record in ended:
        tell(f"{record.outcome}: {record.case.title}, while {record.stage}: {record.reason}")
    tell_how_to_retry(ended)
    tell(f"records: {run.path}   every probe: rmmbench table {run.path}")
    if any(record.has_failed for record in ended):
        raise typer.Exit(Exit.SOME_FAILED)
