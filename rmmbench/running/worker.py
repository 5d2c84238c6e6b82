"""What a case's own process does: build the model, apply the method, measure, return the record.

Models, methods and measures meet only here.
"""

import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from rmmbench import methods
from rmmbench.measures.environment import as_left
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.cuda import limit_memory, measure_cuda_memory
from rmmbench.measures.memory.following import follow_memory, follow_predicted
from rmmbench.measures.memory.garbage import give_back
from rmmbench.measures.memory.rank import measure_rank_memory
from rmmbench.measures.nvml import process_bytes
from rmmbench.measures.over_ranks import of_all
from rmmbench.measures.step import Prepare
from rmmbench.results.out_of_memory import is_out_of_memory
from rmmbench.results.record import Environment, Memory, Outcome, Record
from rmmbench.running.draft import Announce, Draft, error_line, prepare
from rmmbench.running.isolation.rank_processes import Rank
from rmmbench.running.joining import join, ranks_lack
from rmmbench.running.predicting import gpu_of, predict
from rmmbench.running.timed import measure_projection, measure_time
from rmmbench.spec.case import Case, Device
from rmmbench.spec.measuring import TimelineSettings
from rmmbench.units import format_bytes


def measure(
    case: Case,
    environment: Environment,
    folder: Path,
    announce: Announce,
    keep: Callable[[Record], None] = lambda record: None,
    rank: Rank | None = None,
) -> Record:
    """Measure a case in this process and return its record, even if it fails.

    Args:
        case: What is measured.
        environment: Of this machine.
        folder: The run directory, for what does not fit in a record.
        announce: Called with what is being done.
        keep: Called with the record as it would be if this process ended now.
        rank: Which of the processes of the case this is; None if it is the only one.
    """
    draft = Draft(case, announce, lambda so_far: keep(so_far.record(environment, "error", None)))
    outcome, reason = _measure(draft, folder, rank)
    return draft.record(as_left(environment, case.model), outcome, reason)


def _measure(draft: Draft, folder: Path, rank: Rank | None) -> tuple[Outcome, str | None]:
    """Measure what the case asks for, and return its outcome, with the reason if it is not ok."""
    case = draft.case
    memory_device, time_device = _devices(draft)
    if memory_device is None and time_device is None and case.projection_device is None:
        reason = next(iter(draft.missing.values()))
        draft.explain_missing(reason)
        return "skipped", reason
    diverged = None
    try:
        if case.memory_limit_bytes is not None and "cuda" in (memory_device, time_device):
            limit_memory(case.memory_limit_bytes)
        if memory_device is not None:
            _measure_memory(draft, memory_device, rank)
            draft.keep()
            too_much = _over_limit(draft)
            if too_much is not None:
                draft.explain_missing("the case did not get so far")
                return "out_of_memory", too_much
        if memory_device is not None and case.timeline is not None:
            _follow_memory(draft, case.timeline, memory_device, folder)
        if rank is not None and time_device is not None:
            draft.warnings += join(rank, time_device)
        if case.training is not None:
            # It needs an extra, and takes long to import.
            from rmmbench.running.training import train_model

            diverged = train_model(draft, folder)
        elif time_device is not None:
            measure_time(draft, time_device)
        elif case.projection_device is not None:
            measure_projection(draft, case.projection_device)
    except Exception as error:
        draft.explain_missing("the case did not get so far")
        if is_out_of_memory(error):
            return "out_of_memory", error_line(error)
        traceback.print_exc()
        return "error", error_line(error)
    draft.explain_missing()
    return "diverged" if diverged else "ok", diverged


def _devices(draft: Draft) -> tuple[Device | None, Literal["cuda", "cpu"] | None]:
    """Return where memory and time are measured; None where a method or kernel lacks what it needs.

    Memory that cannot be predicted is measured on the CPU, if time is measured there.
    """
    case, method_lacks = draft.case, methods.stack(draft.case.steps).lacks

    def lacks(device: str) -> str | None:
        found = method_lacks(device) or _kernel_lacks(case, device) or ranks_lack(case, device)
        # On a CPU a rank's memory is counted as where it is predicted.
        return found or (method_lacks("predict") if case.ranks > 1 else None)

    memory_device: Device | None = case.memory_device
    if memory_device == "predict" and case.time_device == "cpu" and lacks("predict"):
        memory_device = "cpu"
        draft.warnings.append(f"memory is measured on the CPU: {lacks('predict')}")
    memory = lacks(memory_device) if memory_device else None
    timing = lacks(case.time_device) if case.time_device else None
    reasons = {"memory": memory, "timeline": memory if case.timeline else None, "timing": timing}
    draft.missing |= {name: reason for name, reason in reasons.items() if reason}
    return None if memory else memory_device, None if timing else case.time_device


def _kernel_lacks(case: Case, device: str) -> str | None:
    if device == "cpu" and case.attention_kernel in ("efficient", "cudnn"):
        return f"a CPU has no attention kernel '{case.attention_kernel}'; take flash or math"
    return None


def _over_limit(draft: Draft) -> str | None:
    """Return in words that a step exceeds the case's memory limit; None if it does not."""
    limit, memory = draft.case.memory_limit_bytes, draft.memory
    if limit is None or memory is None or memory.needed_bytes <= limit:
        return None
    return f"a step takes {memory.needed}, more than the limit of {format_bytes(limit)}"


def _measure_memory(draft: Draft, device: Device, rank: Rank | None) -> None:
    reason, kernels = "only a GPU's caching allocator has it", "they are told of a prediction"
    if device == "predict" and rank is not None and not rank.is_first:
        return
    if device != "predict" and rank is not None:
        draft.warnings += join(rank, device)
    if device == "predict":
        draft.stage("predicting memory")
        predict(draft)
    elif device == "cpu" and rank is not None:
        draft.stage("measuring memory")
        draft.memory = measure_rank_memory(_builder(draft, device))
    elif device == "cpu":
        draft.stage("measuring memory")
        draft.memory, warnings = measure_cpu_memory(_builder(draft, device))
        draft.warnings += warnings
    else:
        draft.stage("measuring memory")
        memory, warnings = measure_cuda_memory(_builder(draft, device))
        held, why = process_bytes()
        torch.cuda.empty_cache()  # what follows may need the memory in other pieces
        reason = why or ""
        draft.memory = memory.model_copy(update={"process_bytes": held})
        draft.warnings += warnings
    if device != "predict" and rank is not None:
        assert draft.memory is not None
        draft.memory = Memory.of_ranks(of_all(draft.memory))
    reasons = dict.fromkeys(("reserved_bytes", "alloc_retries", "process_bytes"), reason)
    reasons |= {"attention_kernels": kernels, "rank_peak_bytes": "the step is on one rank"}
    reasons["at_peak_bytes"] = "it is followed where a step over several ranks is predicted"
    for name, why in reasons.items():
        if getattr(draft.memory, name) is None:
            draft.missing.setdefault(f"memory.{name}", why)


def _follow_memory(draft: Draft, settings: TimelineSettings, device: Device, folder: Path) -> None:
    draft.stage("following memory")
    snapshot = folder / f"{draft.case.key}.snapshot.pickle"
    try:
        if device == "predict":
            on_device = functools.partial(prepare, draft, foreach=True)
            draft.timeline = follow_predicted(on_device, settings, gpu_of(draft.case))
        else:
            build = _builder(draft, device)
            draft.timeline = follow_memory(build, settings, device, snapshot=snapshot)
    except Exception as error:
        draft.lost("timeline", error)
    if draft.timeline is None:
        give_back()


def _builder(draft: Draft, device: Literal["cuda", "cpu"]) -> Prepare:
    # On a GPU, and so in a prediction of one, PyTorch updates all parameters together.
    return functools.partial(prepare, draft, device, foreach=device == "cuda")
