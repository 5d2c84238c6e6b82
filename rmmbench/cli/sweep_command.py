"""`rmmbench sweep`: measure a profile's grid."""

from pathlib import Path

from rmmbench.cli import axes as flags
from rmmbench.cli.run_cases import carry_out, end, list_cases
from rmmbench.cli.telling import tell


def sweep(
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
    out: flags.Out = None,
    retry: flags.Retry = False,
    dry_run: flags.DryRun = False,
    as_json: flags.AsJson = False,
) -> None:
    """Measure memory and time over a grid of models, batch sizes, ρ and sketches.

    Each case runs in a process of its own and leaves a record in the run directory.

    The same command, run again, goes on where it stopped; --retry measures again what failed.

    Exit code 7 says that some cases failed.

    Examples:
      rmmbench sweep quick
      rmmbench sweep figure2 --device predict
      rmmbench sweep quick --model hf:gpt2 --rho 0.5,0.1 --out runs/gpt2
      rmmbench sweep my-profile.toml --dry-run
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
    chosen = profiles.load(profile).overridden(axes)
    where = device.value if device else chosen.device
    plan = make_plan(chosen, where, import_models=not dry_run)
    if plan.left_out:
        tell(f"{plan.left_out} timed cases are left out: a prediction has no time")
    if dry_run:
        list_cases(plan, as_json=as_json)
        return
    path = out or Path("runs") / f"{Path(profile).stem}-{where}"
    end(carry_out(profile, chosen, plan, path, retry=retry, as_json=as_json))
