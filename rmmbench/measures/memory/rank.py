"""Measures memory of one of several ranks on the CPU, tensor by tensor.

The allocator's events, which tell of a step on one rank, are not enough here: a thread of the
process group may be the last to let go of a tensor, and such an end has no event. What the group
itself takes for a moment, such as gloo's copies, is not the step's and does not count.
"""

from rmmbench.measures.memory.counting import CountedWork
from rmmbench.measures.memory.garbage import no_garbage_goes
from rmmbench.measures.memory.predict import count_step
from rmmbench.measures.step import Prepare
from rmmbench.results.record import Memory


@no_garbage_goes()
def measure_rank_memory(prepare: Prepare) -> Memory:
    """Return the memory of a training step on this rank: of its tensors, after a warm-up step."""
    with CountedWork() as count:
        memory = count_step(prepare, count).memory
    return memory.model_copy(update={"device": "cpu"})
