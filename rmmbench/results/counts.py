"""The work of one training step, counted: the same on every machine, and no time."""

from typing import Final

from rmmbench.spec.ranges import Work
from rmmbench.spec.strict import Strict


class Counts(Strict):
    """What the operators of one warmed-up training step do, counted as they are called.

    Counts have no noise: two steps that differ in one do different work. They say nothing of how
    long it takes, since operators wait for memory, for each other and for the host.

    Attributes:
        flops: Floating-point operations of matrix products, convolutions and attention, by
            PyTorch's formulas, and of sketches by their own.
        moved_bytes: Sum over operators of the bytes of their input and output tensors; a view
            moves nothing.
        operator_calls: How many operators were called that read or write numbers.
    """

    flops: Work
    moved_bytes: Work
    operator_calls: Work


COUNTS: Final = tuple(Counts.model_fields)
"""The names of the counts, in records and in rows."""
