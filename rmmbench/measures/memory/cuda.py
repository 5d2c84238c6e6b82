"""Measures memory on a GPU, from the caching allocator's own statistics."""

import gc
from typing import NamedTuple

import torch

from rmmbench.measures.memory.cpu import disagreement
from rmmbench.measures.memory.garbage import no_garbage_goes
from rmmbench.measures.memory.kept import kept_bytes
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
    cold, *warm = (_peaks(step) for _ in range(3))
    allocated = [peaks.allocated for peaks in warm]
    gc.collect()
    resting = torch.cuda.memory_allocated()
    retries = torch.cuda.memory_stats()["num_alloc_retries"]
    memory = Memory(
        device="cuda",
        peak_live_bytes=max(peaks.live for peaks in warm),
        peak_allocated_bytes=max(allocated),
        cold_peak_allocated_bytes=cold.allocated,
        resting_bytes=resting,
        saved_bytes=kept_bytes(step, _allocated, _LOSS_BYTES),
        reserved_bytes=max(peaks.reserved for peaks in (cold, *warm)),
        alloc_retries=retries,
    )
    return memory, step.warnings() + disagreement(*allocated)


def _allocated() -> int:
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()


class _Peaks(NamedTuple):
    """What one step takes at most, in bytes: live, as allocated, as reserved."""

    live: int
    allocated: int
    reserved: int


def _peaks(step: TrainingStep) -> _Peaks:
    """Return the highest of each during one step, whatever there was before it."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    statistics = torch.cuda.memory_stats()
    names = ("requested_bytes", "allocated_bytes", "reserved_bytes")
    return _Peaks(*(statistics[f"{name}.all.peak"] for name in names))
