"""`rmmbench train`: train models on data, exact and with every way of saving memory."""

from pathlib import Path
from typing import Annotated

import typer

from rmmbench.cli import axes as flags
from rmmbench.cli.run_cases import carry_out, end, list_cases
from rmmbench.errors import UsageError


def train(
    profile: flags.Profiles,
    device: flags.Devices = None,
    model: flags.Models = None,
    task: flags.Tasks = None,
    batch_size: flags.BatchSizes = None,
    seq_len: flags.SeqLens = None,
    dtype: flags.Dtypes = None,
    attention: flags.Attentions = None,
    optimizer: flags.Optimizers = None,
    rho: flags.Rhos = None,
    sketch: flags.Sketches = None,
    method: flags.Methods = None,
    seed: flags.Seeds = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of each run.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the task's data lies.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Pretrained weights: a name, or a directory.")
    ] = None,
    out: flags.Out = None,
    retry: flags.Retry = False,
    dry_run: flags.DryRun = False,
    as_json: flags.AsJson = False,
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
    from rmmbench.running.plan import make_plan
    from rmmbench.spec import profile as profiles

    axes = flags.axes(
        model=model,
        task=task,
        batch_size=batch_size,
        seq_len=seq_len,
        dtype=dtype,
        attention=attention,
        optimizer=optimizer,
        rho=rho,
        sketch=sketch,
        method=method,
        seed=seed,
    )
    training = {"max_steps": steps, "data": data, "checkpoint": checkpoint}
    chosen = profiles.load(profile).overridden(axes, training)
    if not any("training" in grid.measure for grid in chosen.grid):
        raise UsageError(f"profile '{profile}' trains nothing; measure it with `rmmbench sweep`")
    where = device.value if device else chosen.device
    plan = make_plan(chosen, where, import_models=not dry_run)
    if not any(case.training for case in plan.cases):
        raise UsageError(f"device '{where}' cannot train; use cuda, cpu or auto")
    if dry_run:
        list_cases(plan, as_json=as_json)
        return
    path = out or Path("runs") / f"{Path(profile).stem}-{where}"
    end(carry_out(profile, chosen, plan, path, retry=retry, as_json=as_json))
