"""`rmmbench sweep`: measure a profile's grid."""

from pathlib import Path
from typing import Annotated

import typer

from rmmbench.cli.flags import numbers, words
from rmmbench.cli.running import carry_out, end, list_cases
from rmmbench.cli.telling import tell


def sweep(
    profile: Annotated[str, typer.Argument(help="A name of `rmmbench list profiles`, or a path.")],
    device: Annotated[
        str | None, typer.Option(help="cuda, cpu, predict or auto; the profile's if not given.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Measure this instead; repeat or separate by commas.")
    ] = None,
    batch_size: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    rho: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    sketch: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; runs/PROFILE-DEVICE if not given.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Measure cases again that failed or took too long.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cases; run none, import no model of yours.")
    ] = False,
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
    from rmmbench import profile as profiles
    from rmmbench.sweep import make_plan

    axes = {
        "model": words(model),
        "batch_size": numbers("--batch-size", batch_size, int),
        "rho": numbers("--rho", rho, float),
        "sketch": words(sketch),
        "method": words(method),
    }
    chosen = profiles.load(profile).overridden(axes)
    device = device or chosen.device
    plan = make_plan(chosen, device, import_models=not dry_run)
    if plan.left_out:
        tell(f"{plan.left_out} timed cases are left out: a prediction has no time")
    if dry_run:
        list_cases(plan)
        return
    path = out or Path("runs") / f"{Path(profile).stem}-{device}"
    end(carry_out(profile, chosen, plan, path, retry=retry))
