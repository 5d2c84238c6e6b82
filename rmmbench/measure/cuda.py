"""Memory on a GPU, from the caching allocator's own statistics."""

import torch

from rmmbench.measure.cpu import disagreement
from rmmbench.measure.saved import saved_tensors
from rmmbench.measure.step import Prepare
from rmmbench.record import Memory


def measure_cuda_memory(prepare: Prepare) -> tuple[Memory, list[str]]:
    """Return the memory of a training step on the current GPU, and what is doubtful about it.

    Raises:
        torch.OutOfMemoryError: If the step does not fit.
    """
    step = prepare()
    step()
    torch.cuda.synchronize()
    cold = torch.cuda.max_memory_allocated()
    peaks = []
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        peaks.append(torch.cuda.max_memory_allocated())
    resting = torch.cuda.memory_allocated()
    statistics = torch.cuda.memory_stats()
    with saved_tensors(step.model) as saved:
        loss = step.forward()
    del loss
    memory = Memory(
        device="cuda",
        peak_allocated_bytes=max(peaks),
        cold_peak_allocated_bytes=cold,
        resting_bytes=resting,
        saved_bytes=saved.total_bytes(),
        reserved_bytes=statistics["reserved_bytes.all.peak"],
        alloc_retries=statistics["num_alloc_retries"],
    )
    return memory, disagreement(*peaks)
