"""`rmmbench train`: train models on data, exact and with every way of saving memory."""

from typing import TYPE_CHECKING

from rmmbench.cli.launching import takes_launcher
from rmmbench.cli.options import (
    AXES,
    AsJson,
    Axes,
    Checkpoint,
    Data,
    Devices,
    DryRun,
    Out,
    ProfileName,
    Retry,
    Steps,
    takes_axes,
)
from rmmbench.cli.run_cases import Asked, run_or_list
from rmmbench.errors import UsageError

if TYPE_CHECKING:
    from rmmbench.running.launchers.launcher import Launch


@takes_launcher
@takes_axes(*(name for name in AXES if name != "gpu"))
def train(
    profile: ProfileName,
    axes: Axes,
    steps: Steps = None,
    data: Data = None,
    checkpoint: Checkpoint = None,
    device: Devices = None,
    *,
    launch: "Launch",
    out: Out = None,
    retry: Retry = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train models, exact and with each method, over several seeds; compare their scores.

    Options replace what the profile says. Commas separate several values.

    Each training leaves a record of its loss, scores, time and peak memory in the run directory, by
    default runs/PROFILE-DEVICE.

    The same command, run again, goes on where it stopped, also in the middle of a training.

    A training whose loss is not finite is stopped and recorded. Exit code 7 means that some failed.

    Examples:
      rmmbench train digits
      rmmbench train text --sketch oporp --rho 0.1 --seed 0,1
      rmmbench train digits --ranks 2 --parallel ddp
      rmmbench train table2 --task cola,rte --data glue --checkpoint roberta-base
      rmmbench train digits --launcher ray:10.0.0.5:6379
    """
    from rmmbench.spec import profile as profiles

    training = {"max_steps": steps, "data": data, "checkpoint": checkpoint}
    chosen = profiles.load(profile).overridden(axes, training)
    if not any("training" in grid.measure for grid in chosen.grid):
        raise UsageError(f"profile '{profile}' trains nothing; measure it with `rmmbench sweep`")
    asked = Asked(profile, chosen, device, out, trains=True, launch=launch)
    run_or_list(asked, retry=retry, dry_run=dry_run, as_json=as_json)
