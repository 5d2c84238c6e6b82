"""Measures memory on the CPU, from the allocator's own events as torch.profiler records them."""

import gc
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from rmmbench.measures.memory.garbage import no_garbage_goes
from rmmbench.measures.memory.kept import most_held
from rmmbench.measures.memory.saved import GatheredParameters, saved_inputs
from rmmbench.measures.step import Prepare
from rmmbench.measures.whole_step import WholeStep
from rmmbench.results.record import Memory

_PHASES = ("rmmbench::cold", "rmmbench::first", "rmmbench::second", "rmmbench::forward")


class Allocation(NamedTuple):
    """One event of the allocator.

    Attributes:
        nanoseconds: When.
        size_bytes: How much; negative if memory was freed.
        address: Where.
    """

    nanoseconds: int
    size_bytes: int
    address: int


@no_garbage_goes()
def measure_cpu_memory(prepare: Prepare) -> tuple[Memory, list[str]]:
    """Return the memory of a training step on the CPU, with warnings.

    The profiler is on from the making of the model, so every byte has its event.
    """
    # One cycle keeps all events anyway, but without acc_events torch 2.11 warns.
    cpu = [ProfilerActivity.CPU]
    with profile(activities=cpu, profile_memory=True, acc_events=True) as profiler:
        step = prepare()
        for phase in _PHASES[:3]:
            gc.collect()
            with record_function(phase):
                step()
        gc.collect()
        # Events tell when memory goes, but not what holds it, so that a whole step asks autograd.
        whole = most_held(step) if isinstance(step, WholeStep) else None
        gc.collect()
        gathered = GatheredParameters(step.model)
        with saved_inputs(step.batch) as saved, record_function(_PHASES[3]):
            loss = step.forward() if whole is None else torch.empty(0)
        beside = loss.untyped_storage().nbytes() + gathered.total_bytes()
        warnings = step.warnings()
        del loss, step, gathered
    events, phases = _events(profiler)
    peaks = [_peak(events, *phases[name]) for name in _PHASES[:3]]
    start, end = phases[_PHASES[3]]
    held = sum(event.size_bytes for event in events if start <= event.nanoseconds <= end)
    memory = Memory(
        device="cpu",
        peak_live_bytes=max(peaks[1:]),
        peak_allocated_bytes=max(peaks[1:]),
        cold_peak_allocated_bytes=peaks[0],
        resting_bytes=sum(event.size_bytes for event in events if event.nanoseconds < start),
        saved_bytes=max(0, held - beside + saved.total_bytes()) if whole is None else whole,
    )
    return memory, warnings + disagreement(peaks[1], peaks[2])


def disagreement(first: int, second: int) -> list[str]:
    """Return a warning if two warmed-up steps had different peaks."""
    if first == second:
        return []
    what = f"the peaks of two warmed-up steps differ by {abs(first - second)} bytes"
    return [f"{what}: the step is not the same each time; the larger is reported"]


def highest_rise(profiler: profile) -> int:
    """Return by how much memory rose at its highest while the profiler was on."""
    events, _ = _events(profiler)
    return _peak(events, 0, events[-1].nanoseconds) if events else 0


def _events(profiler: profile) -> tuple[list[Allocation], dict[str, tuple[int, int]]]:
    results: Any = profiler.profiler
    allocations, phases = [], {}
    for event in _walk(results.kineto_results.experimental_event_tree()):
        fields = event.extra_fields
        if isinstance(fields, torch._C._profiler._ExtraFields_Allocation):
            allocations.append(Allocation(event.start_time_ns, fields.alloc_size, fields.ptr))
        elif event.name in _PHASES:
            phases[event.name] = event.start_time_ns, event.end_time_ns
    return sorted(allocations), phases


def _walk(events: Iterable[Any]) -> Iterator[Any]:
    for event in events:
        yield event
        yield from _walk(event.children)


def _peak(events: list[Allocation], start: int, end: int) -> int:
    live = peak = 0
    for event in events:
        if event.nanoseconds > end:
            break
        live += event.size_bytes
        # What was live when the phase began counts too.
        peak = max(peak, live) if event.nanoseconds >= start else live
    return peak
