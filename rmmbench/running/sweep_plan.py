"""The plan of a sweep: its cases, checked against this machine and the names that exist."""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Literal, NamedTuple

from rmmbench.data import DATA
from rmmbench.errors import ArgumentError, RmmbenchError, UnknownNameError, UsageError
from rmmbench.methods import check as check_stack
from rmmbench.models import MODELS, check
from rmmbench.results.record import Environment
from rmmbench.running.isolation import process
from rmmbench.running.launchers.launcher import Machines
from rmmbench.spec.case import Case, Device
from rmmbench.spec.profile import Profile
from rmmbench.units import format_count

TimeDevice = Literal["cuda", "cpu"] | None
DEVICES = ("cuda", "cpu", "predict", "auto")

_EVERYWHERE: Final[tuple[Device, TimeDevice]] = ("predict", "cpu")
"""Devices on which every case of a profile can be measured."""

_RANKS_A_CORE: Final = 16
"""Each is a process, and connected with all others; far more of them take a machine down."""


class Plan(NamedTuple):
    """What a sweep will do.

    Attributes:
        cases: In the order in which they are measured.
        environment: The machine that measures them.
        left_out: How many cases of the profile the device cannot measure.
    """

    cases: list[Case]
    environment: Environment
    left_out: int


def make_plan(
    profile: Profile,
    device: str,
    *,
    import_models: bool = True,
    trains: bool = False,
    machines: Machines | None = None,
) -> Plan:
    """Look at the machine, and return what a sweep of `profile` does on `device`.

    Args:
        profile: With the command line's changes applied.
        device: "cuda", "cpu", "predict", or "auto".
        import_models: Import the user's own models too, to check now whether they can be made.
        trains: Whether models must be trained.
        machines: What measures; by default this machine.

    Raises:
        UsageError: If the device is not here or cannot train, a name is unknown, a model cannot be
            made, or there is nothing to measure.
    """
    if device not in DEVICES:
        raise UnknownNameError("device", device, DEVICES)
    every_case = profile.cases(*_EVERYWHERE)
    check_names(every_case)
    if any(case.training for case in every_case):
        check_installed()
    models = sorted({case.model.partition(":")[0] for case in every_case})
    process.preload([MODELS.module(name) for name in models] + _trainers(every_case))
    environment = machines.environment() if machines else process.call(environment_here)
    where = resolve(device, environment)
    cases = every_case if where == _EVERYWHERE else profile.cases(*where)
    if not cases:
        raise UsageError(
            f"device '{device}' has nothing to measure here: this profile asks for time"
        )
    if trains and not any(case.training for case in cases):
        raise UsageError(f"device '{device}' cannot train; use cuda, cpu or auto")
    looked_at = [case for case in cases if import_models or not case.model.startswith("import:")]
    check_cores(cases, environment)
    check_models(looked_at, profile.time_limit_seconds)
    return Plan(cases, environment, len(every_case) - len(cases))


def _trainers(cases: list[Case]) -> list[str]:
    """Return the modules that training imports and that take long."""
    tasks = sorted({case.task for case in cases if case.training and case.task})
    training = ["rmmbench.measures.training_loop"] if tasks else []
    return training + [DATA.module(task) for task in tasks]


def check_installed() -> None:
    """Raise UsageError if what training needs is not installed."""
    missing = [name for name in ("accelerate", "datasets", "sklearn") if find_spec(name) is None]
    if missing:
        lacks = f"training needs {', '.join(missing)}, which is not installed"
        raise UsageError(f"{lacks}; pip install 'rmmbench[train]'")


def check_names(cases: list[Case]) -> None:
    """Raise UnknownNameError for a model or method that does not exist."""
    for case in cases:
        MODELS.check(case.model.partition(":")[0])
        check_stack(case.method)


def check_models(cases: list[Case], limit_seconds: float) -> None:
    """Raise UsageError for a model that cannot be made, spread, sketched or trained as a case asks.

    Faults that show only when a case runs, such as an import that never ends, are left to the case.
    """
    shapes = {(case.model, case.task, case.seq_len, case.attention): case for case in cases}
    sketched = {
        (case.cell, case.method, *_but_size(case)): case
        for case in cases
        if case.settings["sketch"] is not None
    }
    trained = {
        (case.model, case.task, case.seq_len, case.training): case
        for case in cases
        if case.training
    }
    stacked = {
        (case.model, case.task, case.seq_len, case.attention, case.method): case for case in cases
    }
    over_ranks = {
        (case.model, case.task, case.parallel, case.ranks): case for case in cases if case.ranks > 1
    }
    parts = shapes, over_ranks, stacked, sketched, trained
    asked = [list(some.values()) for some in parts]
    try:
        fault = process.call(_fault, *asked, limit_seconds=limit_seconds)
    except process.EndedError:
        return
    if fault is not None:
        raise UsageError(fault)


def _but_size(case: Case) -> Iterator[object]:
    return (value for name, value in case.settings.items() if name not in ("rho", "proj_dim"))


def resolve(device: str, environment: Environment) -> tuple[Device | None, TimeDevice]:
    """Return where memory and time are measured, for one of DEVICES.

    "auto" is the GPU if there is one; else memory is predicted and time is measured on the CPU.

    Raises:
        UsageError: If the device is "cuda" and there is none.
    """
    has_gpu = environment.gpu is not None
    if device == "cuda" and not has_gpu:
        why = why_no_gpu(environment)
        raise ArgumentError("device", f" cuda needs a GPU, and {why}; use predict, cpu or auto")
    devices: dict[str, tuple[Device | None, TimeDevice]] = {
        "cuda": ("cuda", "cuda"),
        "cpu": ("cpu", "cpu"),
        "predict": ("predict", None),
        "auto": ("cuda", "cuda") if has_gpu else ("predict", "cpu"),
    }
    return devices[device]


def check_cores(cases: Iterable[Case], environment: Environment) -> None:
    """Raise UsageError if a case has more ranks than a machine's CPU can take."""
    most = _RANKS_A_CORE * environment.cpu_count
    ranks = max((case.ranks for case in cases if "cpu" in case.device), default=1)
    if ranks > most:
        need = f"ranks must be at most {most} on {format_count(environment.cpu_count, 'CPU core')}"
        raise UsageError(f"{need}, got {ranks}; take fewer ranks, or device predict")


def why_no_gpu(environment: Environment) -> str:
    """Return in words why an environment has no GPU."""
    if environment.node is not None:
        return "no node of the cluster has one that torch sees (Slurm gives some by slurm:gpus=1)"
    return "torch sees no GPU" if environment.cuda else "this torch is built without CUDA"


def environment_here() -> Environment:
    """Return the machine, the versions and the settings of this process."""
    module = import_module("rmmbench.measures.environment")
    found: Environment = module.environment()
    return found


def _fault(
    shapes: list[Case],
    over_ranks: list[Case],
    stacked: list[Case],
    sketched: list[Case],
    trained: list[Case],
) -> str | None:
    """Return what is wrong with the first case that cannot be made, spread, changed or trained."""
    suitability = import_module("rmmbench.running.suitability")
    checks: list[tuple[Callable[[Case], object], list[Case]]] = [
        (check, shapes),
        (suitability.check_ranks, over_ranks),
        (suitability.check_method, stacked),
        (suitability.check_sketch, sketched),
    ]
    if trained:
        checks.append((import_module("rmmbench.running.training").check_training, trained))
    for check_case, cases in checks:
        for case in cases:
            try:
                check_case(case)
            except (ValueError, RmmbenchError) as error:
                return " ".join(str(error).split())
            except Exception:
                continue
    return None
