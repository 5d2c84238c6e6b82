"""What a case's own process does: build the model, apply the method, measure, send the record.

The only place where models, methods and measures meet.
"""

import functools
import time
from collections.abc import Callable
from typing import Literal

import torch
import torch._dynamo  # the first optimizer would import it, in every case anew
from torch._subclasses.fake_tensor import FakeTensorMode

from rmmbench import methods, models, sketches
from rmmbench.measure.conditions import GpuWatch
from rmmbench.measure.cpu import measure_cpu_memory
from rmmbench.measure.cuda import measure_cuda_memory
from rmmbench.measure.nvml import process_bytes
from rmmbench.measure.predict import predict_memory
from rmmbench.measure.step import AUTOCAST, TrainingStep, autocast, make_optimizer
from rmmbench.measure.timing import time_steps
from rmmbench.nn import manual_seed
from rmmbench.record import (
    SYNTHETIC,
    Case,
    Conditions,
    Environment,
    Memory,
    Outcome,
    Record,
    Timing,
)

Announce = Callable[[str], None]

_ENERGY_SECONDS = 1.0


class Draft:
    """A record in the making: what is measured stays, whatever happens afterwards."""

    def __init__(self, case: Case, announce: Announce) -> None:
        """Start the clock for `case`; `announce` is told what is being done."""
        self.case = case
        self.announce = announce
        self.synthetic = SYNTHETIC
        self.converted: int | None = None
        self.memory: Memory | None = None
        self.timing: Timing | None = None
        self.conditions: Conditions | None = None
        self.missing: dict[str, str] = {}
        self.warnings: list[str] = []
        self._start = time.monotonic()
        self._stage = "starting"

    def stage(self, name: str) -> None:
        """Note, and tell, what comes next."""
        self._stage = name
        self.announce(name)

    def record(self, environment: Environment, outcome: Outcome, reason: str | None) -> Record:
        """Return the record as it stands."""
        return Record(
            key=self.case.key,
            case=self.case,
            outcome=outcome,
            stage=None if outcome == "ok" else self._stage,
            reason=reason,
            environment=environment,
            memory=self.memory,
            timing=self.timing,
            conditions=self.conditions,
            converted=self.converted,
            synthetic=self.synthetic,
            missing=self.missing,
            warnings=tuple(self.warnings),
            wall_seconds=time.monotonic() - self._start,
        )


def measure(case: Case, environment: Environment, announce: Announce) -> Record:
    """Return the record of a case, whatever becomes of it in this process."""
    draft = Draft(case, announce)
    try:
        if case.memory_device is not None:
            _measure_memory(draft, case.memory_device)
        else:
            draft.missing["memory"] = "the case asks for time only"
        if case.time_device is not None:
            _measure_time(draft, case.time_device)
        else:
            reason = "a prediction has no time" if case.device == "predict" else "memory only"
            draft.missing["timing"] = draft.missing["conditions"] = reason
    except Exception as error:
        out_of_memory = is_out_of_memory(error)
        draft.missing |= {
            name: "the case did not get so far"
            for name in ("memory", "timing", "conditions")
            if getattr(draft, name) is None and name not in draft.missing
        }
        outcome: Outcome = "out_of_memory" if out_of_memory else "error"
        return draft.record(environment, outcome, _one_line(error))
    return draft.record(environment, "ok", None)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory ran out, on the GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def prepare(draft: Draft, device: str, *, foreach: bool) -> TrainingStep:
    """Build the model, make a batch, and apply the method, everything from the case's seed."""
    case = draft.case
    torch.manual_seed(case.seed)
    manual_seed(case.seed)
    with torch.device(device):
        model, make_batch, draft.synthetic = models.build(case)
        batch = make_batch()
    if device == "cuda":
        model.to(device)  # a factory of the user's own may have named another device
    model.train()
    dtype = AUTOCAST[case.dtype]
    # What a layer keeps is autocast's copy.
    with torch.device(device), autocast(model, dtype):
        draft.converted = methods.get(case.method).apply(model, case, batch)
    optimizer = make_optimizer(case.optimizer, model.parameters(), foreach=foreach)
    return TrainingStep(model, batch, optimizer, dtype)


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


def _measure_memory(draft: Draft, device: Literal["cuda", "cpu", "predict"]) -> None:
    # On a GPU, and so where one is predicted, PyTorch updates all parameters together.
    host = "cuda" if device == "cuda" else "cpu"
    build = functools.partial(prepare, draft, host, foreach=device != "cpu")
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
