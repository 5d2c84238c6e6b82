"""Times a case's steps, and measures conditions, energy and gradients beside them."""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Literal

import torch
from torch import nn

from rmmbench import methods
from rmmbench.measures.gradient.error import measure_gradient_error, measure_sgd_noise
from rmmbench.measures.host_memory import no_more_than_there_is
from rmmbench.measures.memory.garbage import give_back
from rmmbench.measures.nvml import Reading
from rmmbench.measures.step import TrainingStep
from rmmbench.measures.time.conditions import GpuWatch, Readings, conditions
from rmmbench.measures.time.processors import ProcessorWatch
from rmmbench.measures.time.projection import SYNTHETIC, Projection
from rmmbench.measures.time.turns import Reference, ReferenceFailedError, time_steps
from rmmbench.nn.spreading import unwrapped
from rmmbench.results.timing import Timing
from rmmbench.running.draft import Draft, error_line, prepare

TimeDevice = Literal["cuda", "cpu"]

_RATIO = "timing.relative_throughput"
_ENERGY_SECONDS = 1.0


def measure_time(draft: Draft, device: TimeDevice) -> None:
    """Time a case's steps in turn with exact's, or alone if exact does not fit or fails.

    If something that is measured beside the times fails, only that is missing.
    """
    case = draft.case
    draft.stage("building the model")
    step = prepare(draft, device, foreach=device == "cuda")
    exact: Reference = functools.partial(_exact, methods.stack(case.steps), unwrapped(step.model))
    draft.stage("timing steps")
    if case.method == "exact":
        draft.timing, readings = _timed(draft, step, device)
    elif case.memory_limit_bytes is not None:
        draft.missing[_RATIO] = "exact need not fit within the limit"
        draft.timing, readings = _timed_alone(draft, step, device)
    else:
        draft.timing, readings = _timed_in_turn(draft, step, device, exact)
    draft.warnings += [each for each in step.warnings() if each not in draft.warnings]
    draft.keep()
    if device == "cuda":
        draft.stage("measuring energy")
        readings |= {"energy_joules_per_sample": _energy(draft, step, draft.timing)}
    draft.conditions, missing = conditions(readings, unread="timed on the CPU")
    draft.missing |= missing
    if case.gradient_draws is not None:
        draft.stage("comparing gradients")
        try:
            # Copies of all gradients go to the host, which may lack room for them.
            with no_more_than_there_is():
                draft.gradient = measure_gradient_error(step, exact, case.gradient_draws, case.seed)
        except Exception as error:
            draft.lost("gradient", error)
        else:
            _compare_with_sgd(draft, step, exact)


def _compare_with_sgd(draft: Draft, step: TrainingStep, exact: Reference) -> None:
    """Add the noise that exact's own gradients have, if it can be told."""
    assert draft.gradient is not None
    draft.keep()
    try:
        sgd = measure_sgd_noise(step, exact, draft.case.seed)
        draft.gradient = draft.gradient.model_copy(update={"sgd": sgd})
    except Exception as error:
        draft.lost("gradient.sgd", error)


def measure_projection(draft: Draft, device: TimeDevice) -> None:
    """Time a sketch alone, in turn with the product of its layer."""
    case = draft.case
    draft.stage("building the layer")
    step = prepare(draft, device, foreach=False)
    draft.synthetic = SYNTHETIC
    exact: Reference = functools.partial(_exact, methods.stack(case.steps), step.model)
    draft.stage("timing projections")
    turns = None if case.method == "exact" else exact
    draft.timing, readings = _timed(draft, Projection.of(step), device, turns)
    draft.conditions, missing = conditions(readings, unread="not read beside a projection")
    draft.missing |= missing


@contextmanager
def _exact(stack: methods.Stack, model: nn.Module) -> Iterator[None]:
    """Make a changed model exact within; that may need more memory than there is."""
    with no_more_than_there_is(), stack.reference(model):
        yield


def _timed_in_turn(
    draft: Draft, step: TrainingStep, device: TimeDevice, exact: Reference
) -> tuple[Timing, Readings]:
    """Time the method and exact in turn, or the method alone if exact fails."""
    try:
        return _timed(draft, step, device, exact)
    except ReferenceFailedError as failed:
        if draft.case.ranks > 1:  # the others may go on with exact
            raise
        draft.lost(_RATIO, failed.__cause__ or failed, of="exact took no turns")
    # The error is gone, and with it exact's tensors; what exact left behind must go too.
    step.forget_gradients()
    give_back()
    return _timed_alone(draft, step, device)


def _timed_alone(draft: Draft, step: TrainingStep, device: TimeDevice) -> tuple[Timing, Readings]:
    timing, readings = _timed(draft, step, device)
    return timing.model_copy(update={"relative_throughput": None}), readings


def _timed(
    draft: Draft,
    step: Callable[[], object],
    device: TimeDevice,
    exact: Reference | None = None,
) -> tuple[Timing, Readings]:
    """Return the times of the case's steps, and the conditions they were measured under."""
    case = draft.case
    watches: list[GpuWatch | ProcessorWatch] = [ProcessorWatch(torch.get_num_threads())]
    if device == "cuda":  # one thread launches the kernels
        watches = [ProcessorWatch(1), GpuWatch()]
    timing = time_steps(step, case.samples, device, case.timing, exact, _all(watches))
    readings: Readings = {}
    for watch in watches:
        draft.warnings += watch.warnings()
        readings |= watch.readings()
    return timing, readings


@contextmanager
def _all(watches: Sequence[AbstractContextManager[object]]) -> Iterator[None]:
    """Enter all watches; called when the first step that counts begins."""
    with ExitStack() as stack:
        for watch in watches:
            stack.enter_context(watch)
        yield


def _energy(draft: Draft, step: TrainingStep, timing: Timing) -> Reading[float]:
    """Return the energy of the method's own steps; the timed ones took turns with exact's."""
    samples = draft.case.samples
    steps = max(3, round(_ENERGY_SECONDS * timing.samples_per_second / samples))
    try:
        with GpuWatch() as watch:
            for _ in range(steps):
                step()
            torch.cuda.synchronize()
    except Exception as error:
        draft.lost("conditions.energy_joules_per_sample", error)
        return None, error_line(error)
    return watch.energy(samples=steps * samples)
