"""Runs a profile from Python, as `rmmbench sweep` and `rmmbench train` do."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_origin

from rmmbench.errors import UsageError, check_arguments
from rmmbench.results.store import Run
from rmmbench.running.execution import execute, open_run, run_path
from rmmbench.running.launchers.launcher import Launch
from rmmbench.running.progress import show_nothing, show_progress
from rmmbench.running.sweep_plan import make_plan
from rmmbench.spec import profile as profiles
from rmmbench.spec.grid import grid_class
from rmmbench.spec.measuring import TrainingSettings
from rmmbench.spec.profile import Profile

_FLAGS = {"model", "task", "batch_size", "seq_len", "dtype", "attention", "optimizer", "gpu"} | {
    *("attention_kernel", "accumulate", "ranks", "parallel", "rho", "sketch", "method", "seed")
}
"""Axes that the command line has too."""

_OWN = ("out", "device", "launcher", "devices", "cpus_per_case", "retry", "quiet")


def run(
    profile: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    device: str | None = None,
    launcher: str = "local",
    devices: Sequence[int] = (),
    cpus_per_case: int | None = None,
    retry: bool = False,
    quiet: bool = False,
    **axes: Any,
) -> Run:
    """Measure or train every case of a profile, and return the run with its records.

    Each case runs in its own process. Cases that `out` has records of are not measured again, so
    the same call goes on where it stopped. A bar shows the progress in a terminal and in a notebook
    with ipywidgets; elsewhere a line comes now and then, on stderr.

    Args:
        profile: A name of `rmmbench list profiles`, the path of a TOML file, or its content as a
            dict: {"grid": [{"model": [...], "batch_size": [...], "rho": [...]}]}.
        out: The run directory; by default runs/PROFILE-DEVICE. A dict needs one.
        device: "auto", "cuda", "cpu" or "predict"; by default the profile's, mostly "auto".
        launcher: "local", or what spreads cases over a cluster: "ray", "ray:ADDRESS", "slurm:…";
            see `rmmbench docs scaling`.
        devices: Numbers of this machine's GPUs, each of which measures one case at a time.
        cpus_per_case: On a cluster, CPUs of a case that others may run beside.
        retry: Measure failed cases again.
        quiet: Show no progress.
        axes: Replace an axis of every grid by one value or several: model, task, batch_size,
            seq_len, dtype, method, sketch, rho, seed, where …; or a setting of training:
            max_steps, data, checkpoint ….

    Raises:
        TypeError: If there is no argument of a name.
        UnknownNameError: If there is no profile, model, method, sketch or device of a name.
        ProfileError: If the profile is not valid.
        UsageError: If a value is invalid, or there is nothing to measure.
        RunError: If `out` holds another run, is in use or cannot be written.

    Examples:
        >>> import rmmbench
        >>> run = rmmbench.run("ci", device="predict", model="mlp:64-256-64-10", method="exact")
        >>> run
        Run('runs/ci-predict': A guard for CI...; 4 ok)
        >>> mine = {"grid": [{"model": ["mlp:64-512-64"], "batch_size": [4096], "rho": [0.1]}]}
        >>> frame = rmmbench.run(mine, out="runs/mine", device="predict", quiet=True).frame()
        >>> bool(frame.saving.max() > 0)
        True
    """
    launch = Launch.of(launcher, devices, cpus_per_case)
    name = str(profile) if isinstance(profile, str | Path) else "python"
    changes = axes_of(axes, others=[*TrainingSettings.model_fields, *_OWN])
    training = {each: value for each, value in axes.items() if each not in changes}
    asked = _read(profile, out).overridden(changes, training)
    where = device or asked.device
    path = run_path(Path(name).stem, where) if out is None else Path(out)
    is_trained = where != "predict" and any("training" in grid.measure for grid in asked.grid)
    on = {"device": device, "launcher": launcher, "devices": launch.devices}
    on = {each: value for each, value in on.items() if value not in (None, "local", ())}
    command = _command(name, on, axes, is_trained=is_trained)
    how = {"retry": retry, "quiet": quiet}
    return run_profile(asked, where, path, name=name, command=command, launch=launch, **how)


def run_profile(
    asked: Profile,
    device: str,
    path: Path,
    *,
    name: str,
    command: str,
    retry: bool = False,
    quiet: bool = False,
    trains: bool = False,
    launch: Launch | None = None,
) -> Run:
    """Measure or train the cases that the run directory does not have yet, and return the run.

    Args:
        asked: The profile with all changes applied.
        device: "auto", "cuda", "cpu" or "predict".
        path: The run directory.
        name: The profile's name, for run.json.
        command: The command or call that does the same, for run.json.
        retry: Measure failed cases again.
        quiet: Show no progress.
        trains: Whether models must be trained.
        launch: What is asked of a launcher; by default cases run on this machine.
    """
    follow = show_nothing if quiet else show_progress
    with (launch or Launch()).machines() as machines:
        plan = make_plan(asked, device, trains=trains, machines=machines)
        made = open_run(path, asked, plan.cases, plan.environment, name=name, command=command)
        execute(made, plan.cases, retry=retry, follow=follow, machines=machines)
    return made


def _read(profile: str | Path | Mapping[str, Any], out: str | Path | None) -> Profile:
    if not isinstance(profile, Mapping):
        return profiles.load(str(profile))
    if out is None:
        raise UsageError("a profile that is a dict has no name for a run directory; give out")
    usual = {"version": profiles.PROFILE_VERSION, "title": "Asked for in Python"}
    return profiles.validated(usual | dict(profile), "the profile")


def axes_of(
    given: Mapping[str, Any], *, but: Collection[str] = (), others: Collection[str] = ()
) -> dict[str, Any]:
    """Return the axes of a grid among some arguments, each with its values.

    Args:
        given: Arguments by name, each one value or several.
        but: Axes that cannot be given.
        others: Names of arguments that are not axes.

    Raises:
        TypeError: If an argument is neither an axis nor one of the others.
    """
    keys = {name: field.annotation for name, field in grid_class().model_fields.items()}
    own = [name for name in keys if name not in ("measure", "training", *but)]
    check_arguments(given, [*own, *others])
    found = {}
    for name in filter(own.__contains__, given):
        value = found[name] = given[name]
        if get_origin(keys[name]) is tuple:
            is_many = isinstance(value, Sequence) and not isinstance(value, str)
            found[name] = tuple(value) if is_many else (value,)
    return found


def _command(name: str, on: Mapping[str, Any], axes: Mapping[str, Any], *, is_trained: bool) -> str:
    """Return the command line that does the same, or the Python call if there is none."""
    given = {**on, **axes}
    if not set(axes) <= _FLAGS or not (name in profiles.names() or Path(name).is_file()):
        return as_call("run", name, **given)
    words = ["rmmbench", "train" if is_trained else "sweep", name]
    for key, value in given.items():
        values = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
        for one in values:
            words += [f"--{key.replace('_', '-')}", str(one)]
    return shlex.join(words)


def as_call(function: str, name: str, **given: Any) -> str:
    """Return the call of a public function as a person would type it."""
    told = [repr(name), *(f"{key}={value!r}" for key, value in given.items())]
    return f"rmmbench.{function}({', '.join(told)})"
