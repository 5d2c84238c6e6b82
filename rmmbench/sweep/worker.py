"""What a case's own process does: build the model, apply the method, measure, send the record.

The only place where models, methods and measures meet.
"""

import functools
from pathlib import Path
from typing import Literal

import torch
import torch._dynamo  # the first optimizer would import it, in every case anew
from torch._subclasses.fake_tensor import FakeTensorMode

from rmmbench import methods, sketches
from rmmbench.case import Case, Device
from rmmbench.measure.conditions import GpuWatch
from rmmbench.measure.cpu import measure_cpu_memory
from rmmbench.measure.cuda import measure_cuda_memory
from rmmbench.measure.nvml import process_bytes
from rmmbench.measure.predict import predict_memory
from rmmbench.measure.step import Prepare
from rmmbench.measure.timeline import follow_memory
from rmmbench.measure.timing import time_steps
from rmmbench.record import Environment, Outcome, Record
from rmmbench.sweep.draft import Announce, Draft, prepare
from rmmbench.timeline import TimelineSettings

_ENERGY_SECONDS = 1.0


def measure(case: Case, environment: Environment, folder: Path, announce: Announce) -> Record:
    """Return the record of a case, whatever becomes of it in this process.

    Args:
        case: What is measured.
        environment: Of this machine.
        folder: The run directory, for what does not fit in a record.
        announce: Told what is being done.
    """
    draft = Draft(case, announce)
    diverged = None
    try:
        if case.memory_device is not None:
            _measure_memory(draft, case.memory_device)
        if case.timeline is not None:
            _follow_memory(draft, case.timeline, folder)
        if case.training is not None:
            # It takes an extra, and long to import.
            from rmmbench.sweep.training import train_model

            diverged = train_model(draft, folder)
        elif case.time_device is not None:
            _measure_time(draft, case.time_device)
    except Exception as error:
        out_of_memory = is_out_of_memory(error)
        draft.explain_missing("the case did not get so far")
        outcome: Outcome = "out_of_memory" if out_of_memory else "error"
        return draft.record(environment, outcome, _one_line(error))
    draft.explain_missing()
    return draft.record(environment, "diverged" if diverged else "ok", diverged)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory ran out, on the GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def check_sketch(case: Case) -> None:
    """Raise what the case's sketch has to say of the shapes that it would meet.

    Blocks must fit the input of every layer: a forward pass on fake tensors tells. A user's own
    factory is not called for it.

    Raises:
        ValueError: If the sketch takes no block_rows, needs them, or they fit no input.
    """
    sketch = sketches.get(case.sketch or "gaussian", case.block_rows)
    has_blocks = sketch.needs_block_rows or sketch.block_rows is not None
    if not has_blocks or case.model.startswith("import:"):
        return
    read: list[str] = []
    with FakeTensorMode():
        step = prepare(Draft(case, lambda stage: None), "cpu", foreach=True)
        for name, layer in step.model.named_modules():
            layer.register_forward_pre_hook(lambda *_, name=name: read.append(name))
        try:
            step.forward()
        except ValueError as error:
            hint = f"(layer '{read[-1]}' of {case.model}; `exclude` can leave it out)"
            raise ValueError(f"{error} {hint}") from error


def _measure_memory(draft: Draft, device: Device) -> None:
    build = _builder(draft, device)
    reason = "only a GPU's caching allocator has it"
    if device == "predict":
        draft.stage("predicting memory")
        draft.memory = predict_memory(build)
        _warn_of_prediction(draft)
    elif device == "cpu":
        draft.stage("measuring memory")
        draft.memory, warnings = measure_cpu_memory(build)
        draft.warnings += warnings
    else:
        draft.stage("measuring memory")
        memory, warnings = measure_cuda_memory(build)
        held, why = process_bytes()
        reason = why or ""
        draft.memory = memory.model_copy(update={"process_bytes": held})
        draft.warnings += warnings
    for name in ("reserved_bytes", "alloc_retries", "process_bytes"):
        if getattr(draft.memory, name) is None:
            draft.missing[f"memory.{name}"] = reason


def _follow_memory(draft: Draft, settings: TimelineSettings, folder: Path) -> None:
    device = draft.case.memory_device
    assert device is not None
    draft.stage("following memory")
    snapshot = folder / f"{draft.case.key}.snapshot.pickle"
    build = _builder(draft, device)
    draft.timeline = follow_memory(build, settings, device, snapshot=snapshot)


def _builder(draft: Draft, device: Device) -> Prepare:
    # On a GPU, and so where one is predicted, PyTorch updates all parameters together.
    host = "cuda" if device == "cuda" else "cpu"
    return functools.partial(prepare, draft, host, foreach=device != "cpu")


def _warn_of_prediction(draft: Draft) -> None:
    if draft.case.attention == "sdpa":
        draft.warnings.append(
            "attention 'sdpa' is predicted as PyTorch computes it without a fused kernel; a GPU's "
            "keeps less; use attention = 'eager', or measure on --device cuda"
        )
    if draft.case.dtype == "bfloat16":
        draft.warnings.append(
            "autocast is predicted with the CPU's list of operators, which differs from CUDA's; "
            "measure on --device cuda for the last percent"
        )


def _measure_time(draft: Draft, device: Literal["cuda", "cpu"]) -> None:
    case = draft.case
    draft.stage("building the model")
    step = prepare(draft, device, foreach=device == "cuda")
    method = methods.get(case.method)
    reference = None if case.method == "exact" else functools.partial(method.reference, step.model)
    draft.stage("timing steps")
    if device == "cpu":
        draft.timing = time_steps(step, case.batch_size, device, case.timing, reference)
        draft.missing["conditions"] = "timed on the CPU"
        return
    with GpuWatch() as watch:
        timing = time_steps(step, case.batch_size, device, case.timing, reference)
    draft.timing = timing
    draft.warnings += watch.warnings()
    draft.stage("measuring energy")
    steps = max(3, round(_ENERGY_SECONDS * timing.samples_per_second / case.batch_size))
    # The method alone, as its steps and exact's took turns before.
    with GpuWatch() as watch:
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
    draft.conditions, missing = watch.conditions(samples=steps * case.batch_size)
    draft.missing |= missing


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    named = type(error).__name__
    return f"{named}: {text}"[:500] if text else named
