"""Philox is Random123's, and alike in PyTorch and in Triton."""

import math

import pytest
import torch

from rmmbench.kernels import philox

FULL = 0xFFFFFFFF

# Random123's known answers for philox4x32-10: counter, key (low word, high word), result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((FULL,) * 4, (FULL, FULL), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
known = pytest.mark.parametrize(("counter", "key", "words"), KNOWN, ids=["zeros", "ones", "pi"])


def seed_of(key):
    """Return a key's two words as one int64 number."""
    low, high = key
    return torch.tensor((high << 32 | low) - (high >> 31 << 64))


@known
def test_twin_gives_the_known_answers(counter, key, words):
    """The PyTorch twin is the published generator."""
    place, *rest = counter
    found = philox.words(seed_of(key), torch.tensor(place), *rest)
    assert tuple(found.tolist()) == words


@known
def test_kernel_gives_the_known_answers(device, counter, key, words):
    """The kernel is the published generator, its key read from a tensor."""
    from rmmbench.kernels._triton_philox import stream_from

    first, column, use, last = counter
    seed = seed_of(key).to(device)
    found = stream_from(seed, 4, first=first, column=column, use=use, last=last)
    assert tuple(found.tolist()) == words


@pytest.mark.parametrize("count", [0, 1, 5, 63, 1000, 4097])
def test_kernel_streams_what_its_twin_does(device, count):
    """Words come in the same order, however many and for every use."""
    from rmmbench.kernels import _triton_philox

    for use in philox.Use:
        seed = torch.tensor(-(2**62) - use)
        found = _triton_philox.stream(seed.to(device), count, use)
        assert torch.equal(found.cpu(), philox.stream_twin(seed, count, use))


def test_a_shorter_stream_is_the_start_of_a_longer():
    """How many words are asked for does not change them."""
    seed = torch.tensor(9)
    longer = philox.stream_twin(seed, 1000, philox.Use.BINS)
    assert torch.equal(philox.stream_twin(seed, 63, philox.Use.BINS), longer[:63])


def test_uses_share_no_words():
    """Bits for one use are none of another's."""
    streams = [philox.stream_twin(torch.tensor(4), 4000, use) for use in philox.Use]
    # Of 16,000 words of 32 bits 0.03 pairs are equal by chance.
    assert torch.cat(streams).unique().numel() == 4000 * len(philox.Use)


def test_signs_are_the_bits_of_their_words():
    """Row i's sign is bit i % 32 of word i // 32; a one is minus."""
    packed = torch.tensor([0b1010, 1 << 31])
    signs = philox.unpack_signs(packed, 64, torch.float32)
    assert [row for row in range(64) if signs[row] < 0] == [1, 3, 63]


def test_signs_are_balanced():
    """Signs, and the products of neighbours, have the mean 0 within 4 standard errors."""
    rows = 10**6
    signs = philox.signs(torch.tensor(8), rows, torch.float64)
    assert abs(signs.mean().item()) <= 4 / math.sqrt(rows)
    assert abs((signs[1:] * signs[:-1]).mean().item()) <= 4 / math.sqrt(rows)


def test_bits_are_uniform():
    """Each of the 32 bits of a word is a one half of the time, within 4.5 standard errors."""
    count = 200_000
    words = philox.stream_twin(torch.tensor(31), count, philox.Use.ENTRIES)
    ones = torch.stack([(words >> bit & 1).double().mean() for bit in range(32)])
    assert (ones - 0.5).abs().max().item() <= 4.5 * 0.5 / math.sqrt(count)
