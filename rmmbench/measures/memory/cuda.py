"""Measures memory on a GPU, from the caching allocator's own statistics."""

import gc

import torch

from rmmbench.measures.memory.cpu import disagreement
from rmmbench.measures.memory.garbage import no_garbage_goes
from rmmbench.measures.memory.saved import saved_inputs
from rmmbench.measures.step import Prepare, TrainingStep
from rmmbench.results.record import Memory

_LOSS_BYTES = 512  # a scalar takes as much as the caching allocator's smallest piece


def limit_memory(limit_bytes: int) -> None:
    """Let this process's caching allocator take at most `limit_bytes` of the current GPU."""
    total = torch.cuda.get_device_properties().total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total))


@no_garbage_goes()
def measure_cuda_memory(prepare: Prepare) -> tuple[Memory, list[str]]:
    """Return the memory of a training step on the current GPU, with warnings.

    Raises:
        torch.OutOfMemoryError: If the step does not fit.
    """
    step = prepare()
    cold, *peaks = (_peak(step) for _ in range(3))
    gc.collect()
    resting = torch.cuda.memory_allocated()
    statistics = torch.cuda.memory_stats()
    with saved_inputs(step.batch) as saved:
        loss = step.forward()
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated() - resting - _LOSS_BYTES
    del loss
    memory = Memory(
        device="cuda",
        peak_allocated_bytes=max(peaks),
        cold_peak_allocated_bytes=cold,
        resting_bytes=resting,
        saved_bytes=max(0, held + saved.total_bytes()),
        reserved_bytes=statistics["reserved_bytes.all.peak"],
        alloc_retries=statistics["num_alloc_retries"],
    )
    return memory, step.warnings() + disagreement(*peaks)


def _peak(step: TrainingStep) -> int:
    """Return the highest sum of live tensors during one step, whatever was live before it."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()
