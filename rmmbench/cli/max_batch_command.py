"""`rmmbench max-batch`: the largest batch that fits in a given memory, by method."""

import shlex
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli import completing
from rmmbench.cli.launching import takes_launcher
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
from rmmbench.errors import Exit

if TYPE_CHECKING:
    from rmmbench.results.record import Record
    from rmmbench.results.store import Run
    from rmmbench.running.launchers.launcher import Launch


@takes_launcher
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
    *,
    launch: "Launch",
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
      rmmbench max-batch roberta-base --memory 16GiB --launcher ray
    """
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.batch_table import batch_table
    from rmmbench.running.batch_search import Search, search_profile, unfinished
    from rmmbench.running.execution import open_run

    chosen = search_profile(profile, model, memory, axes)
    asked = Asked(profile, chosen, device, out, f"max-batch-{model}-{memory}", launch=launch)
    asked.begin(f"the largest batch of {model} in {memory}")
    with asked.machines() as machines:
        plan = asked.plan(machines)
        search = Search.of(plan, memory, is_timed=time)
        about = {"name": profile, "command": typed()}
        run = open_run(asked.path, chosen, search.cases, plan.environment, **about)
        if before := len(run.records()):
            note(f"{run.path} has {before} probes already")
        watched = partial(follow, noun="probe")
        lines = search.carry_out(run, retry=retry, follow=watched, machines=machines)
    table = batch_table(lines, run.info.environment)
    if as_json:
        one = search.cases[0]
        limit, place = one.memory_limit_bytes, one.memory_device
        of = {"model": model, "memory_limit_bytes": limit, "device": place}
        write_json(of | {"methods": table.data()})
    else:
        print_tables([table])
    _end(unfinished(lines), run)


def _end(ended: "list[Record]", run: "Run") -> None:
    """Say what ended before its end, and leave with the exit code of that, if anything failed."""
    for record in ended:
        tell(f"{record.outcome}: {record.case.title}, while {record.stage}: {record.reason}")
    tell_how_to_retry(ended)
    path = shlex.quote(str(run.path))
    drawn = f"as a figure: rmmbench frontier {path} --format html"
    note(f"records: {path}   every probe: rmmbench table {path}   {drawn}")
    if any(record.has_failed for record in ended):
        raise typer.Exit(Exit.SOME_FAILED)
