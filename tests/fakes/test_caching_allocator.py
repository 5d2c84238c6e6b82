"""The replay of CUDA's caching allocator: sizes, pools, splits and merges are its own."""

import random

import pytest

from rmmbench.fakes.caching_allocator import CachingAllocator
from rmmbench.units import KIB, MIB


@pytest.mark.parametrize(
    ("asked", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        # What is left of a piece of its own is too little to split off, and counts as allocated.
        (10 * MIB, 10 * MIB, 10 * MIB),
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        (11 * MIB + 512, 12 * MIB, 12 * MIB),
    ],
)
def test_one_block(asked, allocated, reserved):
    """A block is rounded to 512 bytes, and comes out of a piece of 2 MiB, 20 MiB or its own size.

    The rest of a large piece is split off if it is larger than 1 MiB.
    """
    allocator = CachingAllocator()
    allocator.allocate(asked)
    assert (allocator.allocated, allocator.reserved) == (allocated, reserved)


def test_nothing_takes_nothing():
    """A tensor without elements has no block."""
    allocator = CachingAllocator()
    assert allocator.allocate(0) is None
    allocator.free(None)
    assert (allocator.allocated, allocator.reserved, allocator.peak) == (0, 0, 0)


def test_the_smallest_block_that_fits_is_taken():
    """Of two free blocks the smaller one that is large enough is used again."""
    allocator = CachingAllocator()
    large, between, small, last = (allocator.allocate(n * MIB) for n in (40, 15, 30, 15))
    allocator.free(large)
    allocator.free(small)
    reserved = allocator.reserved
    assert allocator.allocate(29 * MIB + 512 * KIB) is small
    assert allocator.allocate(31 * MIB) is large
    assert allocator.reserved == reserved
    allocator.free(between)
    allocator.free(last)


def test_a_block_stays_with_its_stream():
    """What one stream has given back another one does not get; its own has it again."""
    allocator = CachingAllocator()
    block = allocator.allocate(30 * MIB, stream=1)
    allocator.free(block)
    assert allocator.allocate(30 * MIB) is not block
    assert allocator.reserved == 60 * MIB
    assert allocator.allocate(30 * MIB, stream=1) is block


def test_neighbours_are_one_block_again():
    """Blocks of one piece that are all free hold what the whole piece does, in whatever order."""
    for order in ((0, 1, 2, 3), (3, 1, 0, 2), (2, 0, 3, 1)):
        allocator = CachingAllocator()
        blocks = [allocator.allocate(5 * MIB) for _ in range(4)]
        assert allocator.reserved == 20 * MIB
        for at in order:
            allocator.free(blocks[at])
        allocator.allocate(9 * MIB)
        allocator.allocate(9 * MIB)
        assert allocator.reserved == 20 * MIB, order


def test_small_blocks_and_large_ones_do_not_mix():
    """A free piece of one pool is nothing to the other."""
    allocator = CachingAllocator()
    allocator.free(allocator.allocate(20 * MIB))
    allocator.allocate(KIB)
    assert allocator.reserved == 22 * MIB


def test_any_order_keeps_the_books():
    """Random blocks: the sum is that of the blocks, and all that is free can be used again."""
    rng = random.Random(0)
    allocator, held, highest = CachingAllocator(), [], 0
    for _ in range(3000):
        if held and rng.random() < 0.5:
            allocator.free(held.pop(rng.randrange(len(held))))
        else:
            size = rng.randrange(1, rng.choice([MIB, 64 * MIB]))
            held.append(allocator.allocate(size))
        highest = max(highest, allocator.allocated)
        assert allocator.allocated == sum(block.size_bytes for block in held)
        assert allocator.allocated <= allocator.reserved
    assert allocator.peak == highest
    for block in held:
        allocator.free(block)
    assert allocator.allocated == 0
    free = [size for pool in allocator._free.values() for size, _, _ in pool]
    assert sum(free) == allocator.reserved
