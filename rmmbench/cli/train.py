"""`rmmbench train`: train models on data, exact and with every way of saving memory."""

from pathlib import Path
from typing import Annotated

import typer

from rmmbench.cli.flags import numbers, words
from rmmbench.cli.running import carry_out, end, list_cases
from rmmbench.errors import UsageError


def train(
    profile: Annotated[str, typer.Argument(help="A name of `rmmbench list profiles`, or a path.")],
    device: Annotated[
        str | None, typer.Option(help="cuda, cpu or auto; the profile's if not given.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Train this instead; repeat or separate by commas.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    batch_size: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    rho: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    sketch: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    seed: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of each run.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the task's data lies.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Pretrained weights: a name, or a directory.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; runs/PROFILE-DEVICE if not given.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Measure cases again that failed or took too long.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs; start none, import no model of yours.")
    ] = False,
) -> None:
    """Train models, exact and with each method, over several seeds; compare their scores.

    Each run leaves a record of its loss, scores, time and peak memory in the run directory.

    The same command, run again, goes on where it stopped, in the middle of a run too.

    A run whose loss is no number is stopped and recorded. Exit code 7 says that some runs failed.

    Examples:
      rmmbench train digits
      rmmbench train text --sketch oporp --rho 0.1 --seed 0,1
      rmmbench train table2 --task cola,rte --data glue --checkpoint roberta-base
    """
    from rmmbench import profile as profiles
    from rmmbench.sweep import make_plan

    axes = {
        "model": words(model),
        "task": words(task),
        "batch_size": numbers("--batch-size", batch_size, int),
        "rho": numbers("--rho", rho, float),
        "sketch": words(sketch),
        "method": words(method),
        "seed": numbers("--seed", seed, int),
    }
    training = {"max_steps": steps, "data": data, "checkpoint": checkpoint}
    chosen = profiles.load(profile).overridden(axes, training)
    if not any("training" in grid.measure for grid in chosen.grid):
        raise UsageError(f"profile '{profile}' trains nothing; measure it with `rmmbench sweep`")
    device = device or chosen.device
    plan = make_plan(chosen, device, import_models=not dry_run)
    if not any(case.training for case in plan.cases):
        raise UsageError(f"device '{device}' cannot train; use cuda, cpu or auto")
    if dry_run:
        list_cases(plan)
        return
    path = out or Path("runs") / f"{Path(profile).stem}-{device}"
    end(carry_out(profile, chosen, plan, path, retry=retry))
