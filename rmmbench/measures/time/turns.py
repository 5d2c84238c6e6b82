"""Times whole training steps, the method's and exact's in turn, so that both drift alike."""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from rmmbench.measures.over_ranks import longest, wait_for_all
from rmmbench.results import paired
from rmmbench.results.timing import Timing
from rmmbench.spec.measuring import TimingSettings

Reference = Callable[[], AbstractContextManager[None]]
"""Gives a context in which the step's model is exact."""


Clock = Callable[[Callable[[], object]], float]
"""Returns the seconds that a call takes."""


class ReferenceFailedError(RuntimeError):
    """Exact could not take a turn; the cause is what it raised."""


def time_steps(
    step: Callable[[], object],
    samples_a_step: int,
    device: Literal["cuda", "cpu"],
    settings: TimingSettings,
    reference: Reference | None = None,
    watch: AbstractContextManager[object] | None = None,
) -> Timing:
    """Time steps until there are enough for the settings' target, or a limit is reached.

    Args:
        step: What is timed, on `device`.
        samples_a_step: Of all its micro-batches and ranks.
        device: "cuda" times with CUDA events, "cpu" with the system's clock.
        settings: Target and limits.
        reference: Context in which the step is exact, for every other turn; None for no turns.
        watch: Entered before the first step that counts, and left after the last.

    Returns:
        All samples, and the throughput.

    Raises:
        ReferenceFailedError: If exact cannot take its turn; the method may still be timed alone.
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
            # They take turns in going first, as a warm cache or a slowing clock favours one.
            for context, seconds in turns if number % 2 == 0 else reversed(turns):
                seconds.append(_turn(context, clock, step))
    return _timing(samples, samples_a_step, device)


def _turn(context: Reference, clock: Clock, step: Callable[[], object]) -> float:
    """Return the seconds of one step in a context; a fault of exact is raised as such.

    Of a step over several ranks it is the slowest one's, all of which begin together.
    """
    wait_for_all()
    if context is nullcontext:
        return longest(clock(step))
    try:
        with context():
            return longest(clock(step))
    except Exception as error:
        raise ReferenceFailedError("exact took no turn") from error


def _is_done(samples: list[list[float]], deadline: float, settings: TimingSettings) -> bool:
    if longest(time.monotonic() - deadline) >= 0:
        return True
    values, *references = samples
    for reference in references:
        values = [exact / step for exact, step in zip(reference, values, strict=True)]
    return paired.is_enough(values, settings.target_spread, settings.min_steps)


def _timing(
    samples: list[list[float]], samples_a_step: int, device: Literal["cuda", "cpu"]
) -> Timing:
    return Timing(
        device=device,
        step_seconds=tuple(samples[0]),
        reference_step_seconds=tuple(samples[1]) if len(samples) > 1 else (),
        samples_per_second=samples_a_step / statistics.median(samples[0]),
        relative_throughput=1.0,  # exact's; with a reference it is computed from the pairs
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
