"""Memory over time: live bytes by category through a training step, and the peaks of an epoch.

A dispatch mode sees each operator and its outputs, with fake tensors and with real ones. It does
not see what a kernel allocates inside, except a sketch's. The batch, inputs of the model, and all
else that is neither kept for the backward pass nor part of parameters or optimizer is temporary.
"""

import functools
import gc
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from rmmbench.measures.memory.categories import LiveByCategory, Moment
from rmmbench.measures.memory.garbage import no_garbage_goes
from rmmbench.measures.memory.phases import watched
from rmmbench.measures.memory.predict import PrepareOn, followed
from rmmbench.measures.step import Prepare, TrainingStep, tensors_of
from rmmbench.results.timeline import CATEGORIES, PHASES, StepPeak, Timeline, TimePoint
from rmmbench.spec.gpus import GPU
from rmmbench.spec.measuring import TimelineSettings

FOLLOWED: Final = 2
"""The step whose points are kept: the first that begins with the optimizer's state in memory."""

Batch = Mapping[str, Any]


@no_garbage_goes()
def follow_memory(
    prepare: Prepare,
    settings: TimelineSettings,
    device: Literal["cuda", "cpu", "predict"],
    *,
    batches: Iterable[Batch] | None = None,
    snapshot: Path | None = None,
) -> Timeline:
    """Return live bytes through a warmed-up training step, and the peaks of an epoch's first steps.

    Args:
        prepare: Builds the step on the device; for "predict" on "cpu", where tensors are fake.
        settings: How much is followed.
        device: Where the step runs.
        batches: The batches from the second step on, on any device; the epoch ends with them. By
            default every step has the first step's batch. A prediction uses only their shapes.
        snapshot: Where the GPU's allocator writes its history of the followed step, if the
            settings ask for it.

    Raises:
        CannotPredictError: If a predicted step asks for the value of a tensor.
        ValueError: If `batches` is empty.
        torch.OutOfMemoryError: If the step does not fit.
    """
    if device != "cuda" or not settings.snapshot:
        snapshot = None
    faking = followed() if device == "predict" else nullcontext()
    with faking, LiveByCategory("cuda" if device == "cuda" else "cpu") as count:
        return _follow(prepare, settings, device, count, batches, snapshot)


@no_garbage_goes()
def follow_predicted(prepare: PrepareOn, settings: TimelineSettings, gpu: GPU | None) -> Timeline:
    """Return live bytes through a step on a GPU that is not there, and what it would allocate.

    Args:
        prepare: Builds the step on the type of device that it is called with, of fake tensors.
        settings: How much is followed.
        gpu: The kind of GPU; None for the CPU's memory.

    Raises:
        CannotPredictError: If the step asks for the value of a tensor.
    """
    with followed(gpu) as fake:
        device_type = fake.device_type if fake else "cpu"
        with LiveByCategory(device_type, fake) as count:
            build = functools.partial(prepare, device_type)
            return _follow(build, settings, "predict", count, None, None)


def thinned(moments: Sequence[Moment], most: int) -> list[Moment]:
    """Return at most `most` of the moments, in order.

    They include each phase's first and last moment, and the highest of all; a phase that returns
    with each micro-batch is several. The phases share the rest evenly; a phase with more moments
    than its share is cut into stretches, and keeps the lowest and the highest moment of each.

    Args:
        moments: Of one step.
        most: At least 10.
    """
    phases = _stretches(moments, most // 4)
    kept = {end for places in phases for end in (*places[:1], *places[-1:])}
    kept.add(max(range(len(moments)), key=lambda i: moments[i].total))
    room = max(len(places) for places in phases)
    if len(moments) > most:
        room = (most - len(kept)) // len(phases)
    for places in phases:
        kept |= set(_extremes(moments, places, room))
    return [moments[i] for i in sorted(kept)]


def _stretches(moments: Sequence[Moment], most: int) -> list[list[int]]:
    """Return the places of each phase, again for each time it returns unless that is too often."""
    numbered = itertools.groupby(enumerate(moments), lambda each: each[1].phase)
    returning = [[i for i, _ in run] for _, run in numbered]
    if len(returning) <= max(most, len(PHASES)):
        return returning
    return [[i for i, each in enumerate(moments) if each.phase == phase] for phase in PHASES]


def _extremes(moments: Sequence[Moment], places: Sequence[int], room: int) -> Iterator[int]:
    if len(places) <= room:
        yield from places
        return
    stretches = room // 2
    for stretch in range(stretches):
        start, end = (len(places) * edge // stretches for edge in (stretch, stretch + 1))
        yield min(places[start:end], key=lambda i: moments[i].total)
        yield max(places[start:end], key=lambda i: moments[i].total)


def _follow(
    prepare: Prepare,
    settings: TimelineSettings,
    device: Literal["cuda", "cpu", "predict"],
    count: LiveByCategory,
    batches: Iterable[Batch] | None,
    snapshot: Path | None,
) -> Timeline:
    step = prepare()
    points: tuple[TimePoint, ...] = ()
    epoch: list[StepPeak] = []
    operators = 0
    with watched(step, count) as end:
        steps = _with_batches(step, count, device, batches)
        for _ in itertools.islice(steps, settings.epoch_steps):
            is_followed = len(epoch) + 1 == FOLLOWED
            with _history(snapshot if is_followed else None):
                _run(step, count, end)
            epoch.append(_peak(len(epoch) + 1, step, count))
            if is_followed:
                operators = count.operators
                points = tuple(_point(each) for each in thinned(count.moments, settings.max_points))
    if not points:
        raise ValueError("batches must hold at least one batch, got none; leave them out instead")
    return Timeline(
        device=device,
        operators=operators,
        points=points,
        epoch=tuple(epoch),
        snapshot=None if snapshot is None else snapshot.name,
    )


def _run(step: TrainingStep, count: LiveByCategory, end: Callable[[], None]) -> None:
    """Do one training step and its `end`, and note every moment of it."""
    gc.collect()
    count.begin()
    with count.saving():
        step()
    count.note()
    end()


def _with_batches(
    step: TrainingStep, count: LiveByCategory, device: str, batches: Iterable[Batch] | None
) -> Iterator[None]:
    """Yield once for each step of the epoch, with its batch in place."""
    yield
    if batches is None:
        yield from itertools.repeat(None)
        return
    for batch in batches:
        step.batch = tree_map_only(Tensor, lambda tensor: _placed(tensor, device), dict(batch))
        count.count(tensors_of(step.batch))
        # The original batch is not the step's.
        del batch
        yield


def _placed(tensor: Tensor, device: str) -> Tensor:
    if device == "predict":
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    return tensor.to(device, copy=True)


def _peak(number: int, step: TrainingStep, count: LiveByCategory) -> StepPeak:
    highest = max(count.moments, key=lambda moment: moment.total)
    return StepPeak(
        step=number,
        rows=_rows(step.batch),
        peak_bytes=highest.total,
        at_peak_bytes=tuple(highest.sizes[name] for name in CATEGORIES),
        resting_bytes=count.live,
    )


def _rows(batch: Batch) -> int:
    """Return how many tokens, samples or nodes a batch has, from its first tensor, if any."""
    first = next(iter(tensors_of(batch)), torch.empty(0, 1))
    if not first.is_floating_point():
        return first.numel()
    # Images are (batch, channels, height, width), all else (*, features).
    return first.shape[0] if first.dim() == 4 else first.numel() // first.shape[-1]


def _point(moment: Moment) -> TimePoint:
    return TimePoint(
        time=moment.time,
        phase=moment.phase,
        live_bytes=tuple(moment.sizes[name] for name in CATEGORIES),
        allocated_bytes=moment.allocated,
    )


@contextmanager
def _history(snapshot: Path | None) -> Iterator[None]:
    """Within, let the caching allocator record its history; at the end write it to `snapshot`."""
    if snapshot is None:
        yield
        return
    torch.cuda.memory._record_memory_history(stacks="python")
    try:
        yield
        torch.cuda.memory._dump_snapshot(str(snapshot))  # type: ignore[no-untyped-call]
    finally:
        torch.cuda.memory._record_memory_history(enabled=None)
