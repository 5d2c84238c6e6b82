"""Where seeds come from: a stream of its own, so that dropout and shuffling stay as they were.

The n-th seed is a hash of torch's initial seed, the process's rank and n. Nothing of torch's
generators is read or changed but the number that `torch.manual_seed` was given.
"""

import itertools
from collections.abc import Iterator

import torch
import torch.distributed as dist

_MASK = 2**64 - 1


class _Stream:
    def __init__(self) -> None:
        self.seed: int | None = None
        self.counter: Iterator[int] = itertools.count()

    def next(self) -> int:
        seed = torch.initial_seed() if self.seed is None else self.seed
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        mixed = 0
        for value in (seed, rank, next(self.counter)):
            mixed = _splitmix64((mixed ^ value) & _MASK)
        return mixed >> 1  # fits into int64


_stream = _Stream()


def next_seed() -> int:
    """Return a seed that no other draw of this process has had, below 2⁶³."""
    return _stream.next()


def manual_seed(seed: int) -> None:
    """Start the stream of seeds anew from `seed`, so that the sketches that follow repeat.

    Without it the stream follows torch's initial seed and never starts anew within a process.
    """
    _stream.seed = seed
    _stream.counter = itertools.count()


def _splitmix64(value: int) -> int:
    """Return one step of SplitMix64 [Steele, Lea, Flood 2014, Fast splittable generators]."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
