"""PyTorch's caching allocator for CUDA, replayed: what a step takes, without a GPU.

As c10/cuda/CUDACachingAllocator.cpp does it with its default settings and without a limit: blocks
of multiples of 512 bytes; two pools for each stream, of small blocks (1 MiB at most) and large
ones; the smallest free block that is large enough, split where enough is left; neighbours merged
again when both are free; and what no block is free for is taken from the driver in pieces of 2 MiB,
of 20 MiB, or of the size itself in multiples of 2 MiB. What was taken is not given back, and stays
with the stream that it was taken for: no other stream gets it, however much of it is free.
"""

import bisect
import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from rmmbench.units import MIB

_ROUNDED_TO: Final = 512
_SMALL: Final = MIB
_SMALL_PIECE: Final = 2 * MIB
_LARGE_PIECE: Final = 20 * MIB
_OWN_PIECE: Final = 10 * MIB
"""From here on a block gets a piece of its own size."""


Pool = tuple[int, bool]


@dataclass(eq=False, slots=True)
class Block:
    """A stretch of a piece of the GPU's memory.

    Attributes:
        size_bytes: A multiple of 512.
        number: Orders free blocks of one size: the first made, the first taken.
        pool: The stream that it is of, and whether it is of the pool of small blocks.
        is_free: Whether nothing is in it.
        before: Its neighbour in the same piece of memory.
        after: The one on the other side.
    """

    size_bytes: int
    number: int
    pool: Pool
    is_free: bool = True
    before: "Block | None" = None
    after: "Block | None" = None


@dataclass
class CachingAllocator:
    """Counts what is allocated and what is reserved as PyTorch does.

    Attributes:
        allocated: Bytes of the blocks in use: `torch.cuda.memory_allocated()`.
        peak: The most since it was last set.
        reserved: Bytes taken from the driver: `torch.cuda.memory_reserved()`.
    """

    allocated: int = 0
    peak: int = 0
    reserved: int = 0
    _free: dict[Pool, list[tuple[int, int, Block]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def allocate(self, size_bytes: int, stream: int = 0) -> Block | None:
        """Return a block for so many bytes, of what a stream has; None for none."""
        if size_bytes <= 0:
            return None
        size = _rounded(size_bytes, _ROUNDED_TO)
        block = self._found(size, (stream, size <= _SMALL))
        self._split(block, size)
        block.is_free = False
        self.allocated += block.size_bytes
        self.peak = max(self.peak, self.allocated)
        return block

    def free(self, block: Block | None) -> None:
        """Take back a block that `allocate` gave."""
        if block is None:
            return
        self.allocated -= block.size_bytes
        block.is_free = True
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.is_free:
                self._take(neighbour)
                _merge(block, neighbour)
        self._put(block)

    def _found(self, size: int, pool: Pool) -> Block:
        free = self._free[pool]
        at = bisect.bisect_left(free, (size,))
        if at < len(free):
            return free.pop(at)[2]
        piece = _LARGE_PIECE if size < _OWN_PIECE else _rounded(size, _SMALL_PIECE)
        piece = _SMALL_PIECE if size <= _SMALL else piece
        self.reserved += piece
        return Block(piece, next(self._numbers), pool)

    def _split(self, block: Block, size: int) -> None:
        """Leave the rest of a block free, where it is worth it."""
        rest = block.size_bytes - size
        _, is_small = block.pool
        if rest >= _ROUNDED_TO if is_small else rest > _SMALL:
            other = Block(rest, next(self._numbers), block.pool, True, block, block.after)
            if block.after is not None:
                block.after.before = other
            block.size_bytes, block.after = size, other
            self._put(other)

    def _put(self, block: Block) -> None:
        bisect.insort(self._free[block.pool], (block.size_bytes, block.number, block))

    def _take(self, block: Block) -> None:
        free = self._free[block.pool]
        del free[bisect.bisect_left(free, (block.size_bytes, block.number))]


def _merge(block: Block, neighbour: Block) -> None:
    """Add a free neighbour to a block."""
    block.size_bytes += neighbour.size_bytes
    if neighbour is block.before:
        block.number = neighbour.number
        block.before = neighbour.before
        if block.before is not None:
            block.before.after = block
    else:
        block.after = neighbour.after
        if block.after is not None:
            block.after.before = block


def _rounded(size: int, to: int) -> int:
    return -(-size // to) * to
