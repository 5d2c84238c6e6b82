"""Seconds from counted work, at a GPU's speeds on paper.

A step's operators either compute or move; their sum is taken. Kernels reach a share of both speeds,
which cancels in a ratio of two steps as far as it is the same for both.
"""

from typing import Final, NamedTuple

from rmmbench.results.counts import Counts
from rmmbench.spec.choices import Dtype
from rmmbench.spec.gpus import GPU


class Speed(NamedTuple):
    """What a GPU does in a second.

    Attributes:
        float32: Products of float32, in TFLOP, without TF32, as PyTorch multiplies by default.
        half: Products of bfloat16 or float16, dense; without tensor cores for bfloat16 still these.
        moved: Of its memory, in GB.
    """

    float32: float
    half: float
    moved: float


_SPEEDS: Final[dict[str, Speed]] = {
    "Tesla V100": Speed(15.7, 125, 900),
    "Tesla V100 with torch 1.10": Speed(15.7, 125, 900),
    "Tesla T4": Speed(8.1, 65, 320),
    "A100": Speed(19.5, 312, 2039),
    "A10": Speed(31.2, 125, 600),
    "A40": Speed(37.4, 150, 696),
    "GeForce RTX 3090": Speed(35.6, 71, 936),
    "L4": Speed(30.3, 121, 300),
    "L40S": Speed(91.6, 362, 864),
    "GeForce RTX 4090": Speed(82.6, 165, 1008),
    "H100": Speed(67, 989, 3350),
    "H200": Speed(67, 989, 4800),
    "B200": Speed(75, 2250, 8000),
    "GeForce RTX 5090": Speed(104.8, 210, 1792),
}
"""By title, from NVIDIA's data sheets."""

_ANY: Final = Speed(19.5, 312, 2039)
"""An A100's, for GPUs that are described and for the CPU's memory."""


class Clock(NamedTuple):
    """Turns counted work into seconds.

    Attributes:
        flops: In a second.
        moved_bytes: In a second.
        by: What the seconds are from, in words.
    """

    flops: float
    moved_bytes: float
    by: str

    def seconds(self, counts: Counts) -> float:
        """Return what a step takes."""
        return self.of(counts.flops, counts.moved_bytes)

    def of(self, flops: float, moved_bytes: float) -> float:
        """Return what some work takes."""
        return flops / self.flops + moved_bytes / self.moved_bytes


def clock_of(gpu: GPU | None, dtype: Dtype) -> Clock:
    """Return the clock of a GPU; of one that is in no table an A100's."""
    known = _SPEEDS.get(gpu.title) if gpu else None
    speed = known or _ANY
    whose = gpu.title if gpu and known else "A100"
    flops = speed.float32 if dtype == "float32" else speed.half
    by = f"counted work, at the speeds of the {whose}'s data sheet"
    return Clock(flops * 1e12, speed.moved * 1e9, by)
