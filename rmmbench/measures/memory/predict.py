"""Memory without a device: the training step runs on fake tensors, and live storages are added up.

Not counted are what a kernel allocates inside, CUDA's rounding of each tensor up to 512 bytes, and
cuBLAS's workspace. A sketch operator's own temporaries are counted.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from rmmbench.measures.memory.garbage import no_garbage_goes
from rmmbench.measures.memory.kept import kept_bytes
from rmmbench.measures.step import Prepare, tensors_of
from rmmbench.nn.analysis.live import LiveBytes
from rmmbench.nn.fakes import fake_tensors, why_not_fake
from rmmbench.results.record import Memory


class CannotPredictError(RuntimeError):
    """A model's step depends on values, which fake tensors do not have."""


@no_garbage_goes()
def predict_memory(prepare: Prepare) -> Memory:
    """Return the memory that a training step would take on a device that is not there.

    Args:
        prepare: Builds the step, on "cpu"; called while tensors are fake.

    Raises:
        CannotPredictError: If the step asks for the value of a tensor.
    """
    with followed(), LiveBytes() as count:
        return _measure(prepare, count)


@contextmanager
def followed() -> Iterator[None]:
    """Within, make only fake tensors.

    Raises:
        CannotPredictError: If something asks for the value of a tensor.
    """
    try:
        with fake_tensors():
            yield
    except Exception as error:
        why = why_not_fake(error)
        if why is None:
            raise
        remedy = "measure it on --device cpu or cuda"
        raise CannotPredictError(
            f"fake tensors cannot follow this model: {why}; {remedy}"
        ) from error


def _measure(prepare: Prepare, count: LiveBytes) -> Memory:
    step = prepare()
    # A batch that was read from data was not counted as it was made.
    count.count(tensors_of(step.batch))
    peaks = []
    # One warmed-up step is enough: fake tensors repeat to the byte.
    for _ in range(2):
        gc.collect()
        count.peak = count.live
        step()
        peaks.append(count.peak)
    gc.collect()
    resting = count.live
    return Memory(
        device="predict",
        peak_live_bytes=peaks[1],
        peak_allocated_bytes=peaks[1],
        cold_peak_allocated_bytes=peaks[0],
        resting_bytes=resting,
        saved_bytes=kept_bytes(step, lambda: count.live),
    )
