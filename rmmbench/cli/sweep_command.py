"""`rmmbench sweep`: measure a profile's grid."""

from rmmbench.cli.options import (
    AXES,
    AsJson,
    Axes,
    Devices,
    DryRun,
    Out,
    ProfileName,
    Retry,
    takes_axes,
)
from rmmbench.cli.run_cases import Asked, carry_out, end, list_cases, report


@takes_axes(*AXES)
def sweep(
    profile: ProfileName,
    axes: Axes,
    device: Devices = None,
    out: Out = None,
    retry: Retry = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure memory and time over a grid of models, batch sizes, ρ and sketches.

    Options take the place of what the profile says. Several values of one are separated by
    commas.

    Each case runs in a process of its own and leaves a record in the run directory. That is
    runs/PROFILE-DEVICE, unless --out names another.

    The same command, run again, goes on where it stopped.

    Exit code 7 says that some cases failed.

    Examples:
      rmmbench sweep quick
      rmmbench sweep figure2 --device predict
      rmmbench sweep quick --model hf:gpt2 --rho 0.5,0.1 --out runs/gpt2
      rmmbench sweep my-profile.toml --dry-run
    """
    from rmmbench.spec import profile as profiles

    asked = Asked(profile, profiles.load(profile).overridden(axes), device, out)
    if dry_run:
        list_cases(asked, as_json=as_json)
        return
    run = carry_out(asked, retry=retry)
    report(run, as_json=as_json)
    end(run)
