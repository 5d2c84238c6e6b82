"""Time of whole training steps: the method's and exact's in turn, so that both drift alike."""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from rmmbench.results import paired
from rmmbench.results.timing import Timing
from rmmbench.spec.measuring import TimingSettings

Reference = Callable[[], AbstractContextManager[None]]
"""Gives a context in which the step's model is exact."""


Clock = Callable[[Callable[[], object]], float]
"""Returns the seconds that a call takes."""


class ReferenceFailedError(RuntimeError):
    """Exact could not take a turn, at first or later; what it raised is the cause."""


def time_steps(
    step: Callable[[], object],
    batch_size: int,
    device: Literal["cuda", "cpu"],
    settings: TimingSettings,
    reference: Reference | None = None,
    watch: AbstractContextManager[object] | None = None,
) -> Timing:
    """Time steps until there are enough for the settings' target, or their limits are reached.

    Args:
        step: What is timed, on `device`.
        batch_size: Samples a step.
        device: Where the clock is: CUDA events, or the system's.
        settings: How long.
        reference: What to take turns with; None where the step is exact itself.
        watch: Entered for the steps that count, and left after the last.

    Returns:
        Every sample, and what follows from them.

    Raises:
        ReferenceFailedError: If exact cannot take its turn; the method may well do without.
    """
    clock = _cuda_seconds if device == "cuda" else _cpu_seconds
    contexts: list[Reference] = [nullcontext] if reference is None else [nullcontext, reference]
    for _ in range(settings.warmup_steps):
        for context in contexts:
            _turn(context, clock, step)
    samples: list[list[float]] = [[] for _ in contexts]
    with watch or nullcontext():
        deadline = time.monotonic() + settings.max_seconds
        for number in range(settings.max_steps):
            if number >= settings.min_steps and _is_done(samples, deadline, settings):
                break
            turns = list(zip(contexts, samples, strict=True))
            # Whoever goes first changes, as a warmed cache or a slowing clock favours one.
            for context, seconds in turns if number % 2 == 0 else reversed(turns):
                seconds.append(_turn(context, clock, step))
    return _timing(samples, batch_size, device)


def _turn(context: Reference, clock: Clock, step: Callable[[], object]) -> float:
    """Return the seconds of one step in a context, telling exact's faults from the method's."""
    if context is nullcontext:
        return clock(step)
    try:
        with context():
            return clock(step)
    except Exception as error:
        raise ReferenceFailedError("exact took no turn") from error


def _is_done(samples: list[list[float]], deadline: float, settings: TimingSettings) -> bool:
    if time.monotonic() >= deadline:
        return True
    values, *references = samples
    for reference in references:
        values = [exact / step for exact, step in zip(reference, values, strict=True)]
    return paired.is_enough(values, settings.target_spread, settings.min_steps)


def _timing(samples: list[list[float]], batch_size: int, device: Literal["cuda", "cpu"]) -> Timing:
    return Timing(
        device=device,
        step_seconds=tuple(samples[0]),
        reference_step_seconds=tuple(samples[1]) if len(samples) > 1 else (),
        samples_per_second=batch_size / statistics.median(samples[0]),
        relative_throughput=1.0,  # exact's; of pairs of steps it is reckoned
    )


def _cpu_seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _cuda_seconds(step: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    step()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3
