"""`rmmbench sweep`: measure a profile's grid."""

from typing import TYPE_CHECKING

from rmmbench.cli.launching import takes_launcher
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
from rmmbench.cli.run_cases import Asked, run_or_list

if TYPE_CHECKING:
    from rmmbench.running.launchers.launcher import Launch


@takes_launcher
@takes_axes(*AXES)
def sweep(
    profile: ProfileName,
    axes: Axes,
    device: Devices = None,
    *,
    launch: "Launch",
    out: Out = None,
    retry: Retry = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure memory and time over a grid of models, batch sizes, ρ and sketches.

    Options replace what the profile says. Commas separate several values.

    Each case runs in a process of its own and leaves a record in the run directory, by default
    runs/PROFILE-DEVICE.

    The same command, run again, goes on where it stopped.

    Exit code 7 means that some cases failed.

    Examples:
      rmmbench sweep quick
      rmmbench sweep figure2 --device predict
      rmmbench sweep quick --model hf:gpt2 --rho 0.5,0.1 --out runs/gpt2
      rmmbench sweep quick --model roberta-tiny --task cola --ranks 1,2 --parallel fsdp2
      rmmbench sweep my-profile.toml --dry-run
      rmmbench sweep frontier --devices 0,1
      rmmbench sweep figure2 --launcher ray
    """
    from rmmbench.spec import profile as profiles

    asked = Asked(profile, profiles.load(profile).overridden(axes), device, out, launch=launch)
    run_or_list(asked, retry=retry, dry_run=dry_run, as_json=as_json)
