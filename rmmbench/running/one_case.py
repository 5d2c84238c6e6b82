"""One case from Python: its memory predicted in this process, or measured in one of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rmmbench.errors import UnknownNameError, UsageError, check_arguments
from rmmbench.models import MODELS
from rmmbench.results.record import Memory, Record
from rmmbench.running.events import Ahead, Events, Finished
from rmmbench.running.factories import Factory, importable
from rmmbench.running.isolation import process
from rmmbench.running.launchers.local import LocalLauncher
from rmmbench.running.progress import show_nothing, show_progress
from rmmbench.running.sweep_plan import (
    DEVICES,
    check_cores,
    check_models,
    check_names,
    environment_here,
    resolve,
)
from rmmbench.spec.case import Case
from rmmbench.spec.gpus import DEFAULT_GPU
from rmmbench.spec.grid import WITHOUT_LENGTH, case_from
from rmmbench.spec.known_settings import known
from rmmbench.spec.tasks import TASKS

_DEVICES = ("memory_device", "time_device")
_NOT_ASKED = {"steps", *_DEVICES, "training", "timeline"}
_CHECK_SECONDS = 900.0
"""So long a model may take to be made before it is predicted; then it is not checked first."""


def predict(
    model: str | Factory,
    *,
    batch_size: int | None = None,
    seq_len: int | None = None,
    task: str | None = None,
    **settings: Any,
) -> Memory:
    """Return the memory that one training step would take on a GPU; nothing is allocated.

    The step runs on fake tensors, in a process of its own.

    Args:
        model: A name of `rmmbench list models`, hf: and import: too; or a function that, called
            as factory(batch_size=…, seq_len=…), returns a model and a function without arguments
            that makes the keyword arguments of a batch. The model returns its loss. The function
            may return a training step of its own instead: a function without arguments that does
            forward pass, backward pass and update; or (step, model), whose model methods change.
        batch_size: Samples in a step; by default the task's, or 32.
        seq_len: Padded length in tokens; by default the task's, or 128 for models of tokens.
        task: A task whose shape to take.
        settings: Of the case: method, sketch, rho, where, share, dtype, optimizer, attention, gpu …
            The default method is "rmm" with a sketch, rho or proj_dim, and else "exact".

    Returns:
        Bytes; see `rmmbench docs results`.

    Raises:
        TypeError: If there is no argument of that name.
        UsageError: If a value is not possible, the model cannot be changed or spread so, or the
            method's memory cannot be predicted.
        CannotPredictError: If the model asks for values, which fake tensors do not have.

    Examples:
        >>> import rmmbench
        >>> exact = rmmbench.predict("mlp:64-256-10", batch_size=512)
        >>> sketched = rmmbench.predict("mlp:64-256-10", batch_size=512, rho=0.1)
        >>> exact.saved_bytes > sketched.saved_bytes
        True
    """
    with importable(model) as name:
        asked = settings | {"memory_device": "predict"}
        case = case_of(name, task, batch_size, seq_len, asked)
        check_names([case])
        process.preload([MODELS.module(name.partition(":")[0])])
        check_models([case], _CHECK_SECONDS)
        memory: Memory = process.call(_predicted, case)
    return memory


def _predicted(case: Case) -> Memory:
    from rmmbench import methods
    from rmmbench.running.predicting import predicted_memory

    reason = methods.stack(case.steps).lacks("predict")
    if reason is not None:
        raise UsageError(f"{case.method} cannot be predicted: {reason}; use rmmbench.measure")
    return predicted_memory(case)


def measure(
    model: str | Factory,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    seq_len: int | None = None,
    task: str | None = None,
    time_limit_seconds: float = 900.0,
    quiet: bool = False,
    **settings: Any,
) -> Record:
    """Measure memory and time of one way to train a model, in a process of its own.

    A failure or a lack of memory is not raised; the record's `outcome` and `reason` say it. What is
    being done is shown, as `run` shows it.

    Args:
        model: As `predict` takes it. A function that is defined in a notebook is sent to the
            process by cloudpickle, if that is installed.
        device: "cuda", "cpu", "predict", or "auto": the GPU if there is one; else memory is
            predicted and time is measured on the CPU.
        batch_size: Samples in a step; by default the task's, or 32.
        seq_len: Padded length in tokens; by default the task's, or 128 for models of tokens.
        task: A task whose shape to take.
        time_limit_seconds: After this time the process is killed, and the outcome is "timeout".
        quiet: Show no progress.
        settings: As `predict` takes them; also timing={"max_seconds": 5}, and gradient_draws=5 to
            compare gradients with those of the exact model.

    Raises:
        TypeError: If there is no argument of that name.
        UsageError: If a value is not possible, the device is not here, or another process cannot
            import the model's function.

    Examples:
        >>> import rmmbench
        >>> quick = {"warmup_steps": 1, "min_steps": 2, "max_steps": 2}
        >>> record = rmmbench.measure("mlp:64-256-10", batch_size=512, rho=0.1, timing=quick)
        >>> record.outcome
        'ok'
        >>> record.memory.saved_bytes, record.timing.relative_throughput  # doctest: +SKIP
        (222244, 0.93)
    """
    (record,) = measure_ways(
        model,
        [settings],
        device=device,
        sizes=(task, batch_size, seq_len),
        time_limit_seconds=time_limit_seconds,
        quiet=quiet,
    )
    return record


def measure_ways(
    model: str | Factory,
    ways: Sequence[Mapping[str, Any]],
    *,
    device: str,
    sizes: tuple[str | None, int | None, int | None],
    time_limit_seconds: float,
    is_timed: bool = True,
    quiet: bool = True,
) -> list[Record]:
    """Measure several ways to train one model, each in a process of its own.

    Args:
        model: As `measure` takes it.
        ways: The settings of each.
        device: As `measure` takes it; "auto" measures memory on the CPU if steps are not timed
            and there is no GPU.
        sizes: Task, batch size and length, as `measure` takes them.
        time_limit_seconds: Of each process.
        is_timed: Whether steps are timed; else only their memory is measured.
        quiet: Whether to show no progress.

    Raises:
        TypeError: If there is no argument of that name.
        UsageError: As `measure` raises it.
    """
    if device not in DEVICES:
        raise UnknownNameError("device", device, DEVICES)
    with importable(model) as name, TemporaryDirectory(prefix="rmmbench-") as folder:
        cases = [case_of(name, *sizes, way) for way in ways]
        check_names(cases)
        process.preload([MODELS.module(name.partition(":")[0])])
        environment = process.call(environment_here)
        devices = dict(zip(_DEVICES, resolve(device, environment), strict=True))
        if not is_timed:
            measured = devices["time_device"] or devices["memory_device"]
            devices = {"memory_device": measured, "time_device": None}
        cases = [case_of(name, *sizes, {**way, **devices}) for way in ways]
        check_cores(cases, environment)
        check_models(cases, time_limit_seconds)
        launcher = LocalLauncher(environment, time_limit_seconds, 1, Path(folder))
        done: dict[str, Record] = {}
        (show_nothing if quiet else show_progress)(_kept(cases, launcher, done))
    return [done[case.key] for case in cases]


def _kept(cases: Sequence[Case], launcher: LocalLauncher, done: dict[str, Record]) -> Events:
    """Measure cases and yield the events; keep each record in `done`, by its key."""
    yield Ahead(cases)
    for event in launcher.run(cases):
        if isinstance(event, Finished):
            done[event.record.key] = event.record
        yield event


def case_of(
    model: str,
    task: str | None,
    batch_size: int | None,
    seq_len: int | None,
    settings: Mapping[str, Any],
) -> Case:
    """Return the case of a model and settings, with the shape of its batch filled in.

    Args:
        model: Its name.
        task: Gives the shape where none is given.
        batch_size: If None, the task's, or 32.
        seq_len: If None, the task's, or 128; stays None for models without a sequence.
        settings: By flat name, as in a profile.

    Raises:
        TypeError: If there is no setting of that name.
        UsageError: If a value is not possible.
    """
    fields = [name for name in Case.model_fields if name not in _NOT_ASKED]
    names = [*fields, "method", *known()]
    check_arguments([name for name in settings if name not in _NOT_ASKED], names)
    if task is not None and task not in TASKS:
        raise UnknownNameError("task", task, TASKS)
    length = None if model.partition(":")[0] in WITHOUT_LENGTH else 128
    usual = (TASKS[task].batch_size, length and TASKS[task].seq_len) if task else (32, length)
    asked: dict[str, Any] = {"model": model, "task": task}
    asked["batch_size"] = usual[0] if batch_size is None else batch_size
    asked["seq_len"] = usual[1] if seq_len is None else seq_len
    if settings.get("memory_device") == "predict":
        asked["gpu"] = DEFAULT_GPU
    if {"sketch", "rho", "proj_dim"} & set(settings):
        asked["method"] = "rmm"
    return case_from(asked | dict(settings))
