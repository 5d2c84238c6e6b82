"""Memory without a device: the training step runs on fake tensors, and live storages are added up.

What a kernel takes for itself is not seen, nor is CUDA's rounding of each tensor up to 512 bytes,
nor cuBLAS's workspace. A sketch's own temporaries are: its operators are looked into.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from rmmbench.measures.memory.garbage import no_garbage_goes
from rmmbench.measures.memory.saved import saved_inputs
from rmmbench.measures.step import Prepare, tensors_of
from rmmbench.nn.analysis.live import LiveBytes
from rmmbench.nn.fakes import fake_tensors, why_not_fake
from rmmbench.results.record import Memory


class CannotPredictError(RuntimeError):
    """A model whose step depends on values, which fake tensors do not have."""


@no_garbage_goes()
def predict_memory(prepare: Prepare) -> Memory:
    """Return the memory of a training step on a device that is not there.

    Args:
        prepare: Builds the step; called where tensors are fake and on "cpu".

    Raises:
        CannotPredictError: If the step asks for the value of a tensor.
    """
    with followed(), LiveBytes() as count:
        return _measure(prepare, count)


@contextmanager
def followed() -> Iterator[None]:
    """Make every tensor that is made within a fake one.

    Raises:
        CannotPredictError: If the value of a tensor is asked for.
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
    # A batch that was read is made outside of the count.
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
    with saved_inputs(step.batch) as saved:
        loss = step.forward()
    # All that the forward pass leaves behind, whoever holds it, but for the loss.
    held = count.live - resting - loss.untyped_storage().nbytes()
    del loss
    return Memory(
        device="predict",
        peak_allocated_bytes=peaks[1],
        cold_peak_allocated_bytes=peaks[0],
        resting_bytes=resting,
        saved_bytes=max(0, held + saved.total_bytes()),
    )
