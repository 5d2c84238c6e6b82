"""A profile's steps measured on a device and predicted for it, to see whether predictions hold."""

import shlex
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final, Literal

from rmmbench.errors import UsageError
from rmmbench.measures.environment import gpu_here
from rmmbench.results.held import Calibration, KernelTwin, paired
from rmmbench.results.record import Environment
from rmmbench.results.store import Run
from rmmbench.running.execution import Follow, execute, open_run
from rmmbench.running.isolation import process
from rmmbench.running.progress import show_progress
from rmmbench.running.sweep_plan import environment_here, make_plan, why_no_gpu
from rmmbench.spec import profile as profiles
from rmmbench.spec.case import Case
from rmmbench.spec.profile import Profile

PROFILE: Final = "calibrate"
_KERNELS_LIMIT_SECONDS: Final = 600.0


def calibrate(
    out: Path | None = None,
    *,
    device: Literal["cuda", "cpu"] = "cuda",
    profile: Profile | None = None,
    retry: bool = False,
    follow: Follow = show_progress,
) -> Calibration:
    """Measure steps on the GPU, predict each for this GPU, and return both, side by side.

    What is measured and what is predicted are runs, kept in `out`; called again, it goes on where
    it stopped. Triton's kernels are held to their twins too.

    Args:
        out: Where the two runs go; runs/calibrate-GPU if not given.
        device: What measures: "cpu" in the place of a GPU holds the CPU's own memory to the
            prediction of it, and has no kernels.
        profile: What is done; the profile "calibrate" if not given.
        retry: Do failed steps again.
        follow: Goes through the events of a run.

    Raises:
        UsageError: If there is no GPU.
        RunError: If `out` holds other runs, is in use or cannot be written.
    """
    process.preload(())
    environment = process.call(environment_here)
    if device == "cuda" and environment.gpu is None:
        need = f"doctor --calibrate needs a GPU, and {why_no_gpu(environment)}"
        raise UsageError(f"{need}; `rmmbench doctor` shows what is here")
    gpu = process.call(gpu_here) if device == "cuda" else None
    name = None if gpu is None else gpu.name
    asked = profile or profiles.load(PROFILE)
    if name is not None:
        asked = asked.overridden({"gpu": (name,)})
    plan = make_plan(asked, device)
    folder = out or folder_of(environment, device)
    measured = [case for case in plan.cases if case.memory_device]
    predicted = [
        case.model_copy(update={"memory_device": "predict", "gpu": name}) for case in measured
    ]
    runs = [
        _carried_out(folder / part, asked, cases, plan.environment, retry=retry, follow=follow)
        for part, cases in (("measured", measured), ("predicted", predicted))
    ]
    pairs = paired(*(run.records() for run in runs))
    twins = _compared_kernels() if device == "cuda" else []
    return Calibration(device, name, plan.environment, pairs, twins)


def folder_of(environment: Environment, device: str) -> Path:
    """Return where a calibration is kept, if nothing else is said."""
    title = environment.gpu if device == "cuda" else device
    words = "".join(each if each.isalnum() else " " for each in (title or device).lower()).split()
    return Path("runs") / "-".join([PROFILE, *words])


def _carried_out(
    path: Path,
    profile: Profile,
    cases: Sequence[Case],
    environment: Environment,
    *,
    retry: bool,
    follow: Follow,
) -> Run:
    command = shlex.join(["rmmbench", "doctor", "--calibrate", "--out", str(path.parent)])
    run = open_run(path, profile, cases, environment, name=PROFILE, command=command)
    execute(run, cases, retry=retry, follow=follow)
    return run


def _compared_kernels() -> list[KernelTwin]:
    """Return the kernels beside their twins, from a process of their own."""
    try:
        found: list[KernelTwin] = process.call(
            compare_kernels, "cuda", limit_seconds=_KERNELS_LIMIT_SECONDS
        )
    except process.EndedError as error:
        about = {"kernel": "all of them", "dtype": None, "difference": None, "limit": 0.0}
        return [KernelTwin.model_validate(about | {"reason": str(error)})]
    return found


def compare_kernels(device: str) -> list[KernelTwin]:
    """Return the kernels beside their twins; torch is imported here, not by the caller."""
    module = import_module("rmmbench.measures.kernel_twins")
    found: list[KernelTwin] = module.compare_kernels(device)
    return found
