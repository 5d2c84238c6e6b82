"""Memory and work without a device: the training step runs on fake tensors and is added up.

On a fake GPU three figures come of it: the bytes of live tensors, what the caching allocator would
count as allocated, and what it would reserve. Not seen are cuDNN's workspaces and NCCL's buffers.
Where torch lacks what a fake GPU needs, the tensors are the CPU's, and live bytes are all there is.
A sketch operator's own temporaries are counted.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rmmbench.errors import CannotPredictError
from rmmbench.fakes.device import FakeGPU, fake_gpu
from rmmbench.fakes.mode import fake_tensors, why_not_fake
from rmmbench.measures.memory.counting import CountedWork
from rmmbench.measures.memory.garbage import no_garbage_goes
from rmmbench.measures.memory.kept import kept_bytes
from rmmbench.measures.memory.spread import WorkByCategory, counting, followed_steps
from rmmbench.measures.step import Prepare, TrainingStep, tensors_of
from rmmbench.results.counts import Counts
from rmmbench.results.record import Memory
from rmmbench.spec.gpus import GPU

PrepareOn = Callable[[str], TrainingStep]
"""Builds everything for a training step on a type of device."""


class Prediction(NamedTuple):
    """What a warmed-up training step takes, and what it does."""

    memory: Memory
    counts: Counts


@no_garbage_goes()
def predict_step(prepare: PrepareOn, gpu: GPU, ranks: int = 1) -> Prediction:
    """Return what a training step would take on a GPU that is not there.

    Only for processes of rmmbench's own; see `rmmbench.fakes.device`.

    Args:
        prepare: Builds the step on the type of device that it is called with, of fake tensors.
        gpu: The kind of GPU.
        ranks: How many there are of it, one for each process that the step is spread over. What
            the first takes is predicted; others take no more.

    Raises:
        CannotPredictError: If the step asks for the value of a tensor.
    """
    with followed(gpu) as fake:
        assert fake is not None
        with counting(ranks, fake) as count:
            return count_step(lambda: prepare(fake.device_type), count, fake)


@no_garbage_goes()
def predict_memory(prepare: Prepare, ranks: int = 1) -> Memory:
    """Return the memory that a training step takes on the CPU, without allocating any.

    Args:
        prepare: Builds the step, on "cpu"; called while tensors are fake.
        ranks: How many processes the step is spread over; what the first takes is predicted.

    Raises:
        CannotPredictError: If the step asks for the value of a tensor.
    """
    with followed(), counting(ranks, None) as count:
        return count_step(prepare, count).memory


@contextmanager
def followed(gpu: GPU | None = None) -> Iterator[FakeGPU | None]:
    """Within, make only fake tensors; give the fake GPU for them, if one is asked for.

    Raises:
        CannotPredictError: If something asks for the value of a tensor.
    """
    try:
        if gpu is None:
            with fake_tensors():
                yield None
        else:
            with fake_gpu(gpu) as fake:
                yield fake
    except Exception as error:
        why = why_not_fake(error)
        if why is None:
            raise
        remedy = "measure it on --device cpu or cuda"
        raise CannotPredictError(
            f"fake tensors cannot follow this model: {why}; {remedy}"
        ) from error


def count_step(prepare: Prepare, count: CountedWork, fake: FakeGPU | None = None) -> Prediction:
    """Return what a training step takes and does, as it is counted while it runs.

    Args:
        prepare: Builds the step; its tensors may be fake, or real.
        count: Entered.
        fake: The GPU that fake tensors are on, if any.
    """
    step = prepare()
    # A batch that was read from data was not counted as it was made.
    count.count(tensors_of(step.batch))
    with followed_steps(step, count) as run:
        cold = _peaks(run, count, fake)
        count.begin_counts()
        live, allocated = _peaks(run, count, fake)
    counts = count.counts()
    reserved = fake.allocator.reserved if fake else None
    kernels = dict(fake.attention_kernels) if fake else None
    at_peak = count.at_peak() if isinstance(count, WorkByCategory) else None
    gc.collect()
    resting = count.live
    memory = Memory(
        device="predict",
        peak_live_bytes=live,
        peak_allocated_bytes=allocated,
        cold_peak_allocated_bytes=cold[1],
        resting_bytes=resting,
        saved_bytes=kept_bytes(step, lambda: count.live),
        reserved_bytes=reserved,
        attention_kernels=kernels,
        at_peak_bytes=at_peak,
    )
    return Prediction(memory, counts)


def _peaks(step: Callable[[], None], count: CountedWork, fake: FakeGPU | None) -> tuple[int, int]:
    """Do a step, and return its peaks of live and of allocated bytes; equal without a GPU."""
    gc.collect()
    count.peak = count.live
    if fake is None:
        step()
        return count.peak, count.peak
    fake.allocator.peak = fake.allocator.allocated
    # Of this step alone: fake tensors repeat to the byte, so the last one tells it all.
    fake.attention_kernels.clear()
    step()
    return count.peak, fake.allocator.peak
