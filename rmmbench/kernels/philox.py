"""Philox 4×32-10: random bits as a function of a seed and a counter.

Salmon, Moraes, Dror, Shaw (2011): Parallel random numbers: as easy as 1, 2, 3. SC'11.

The seed is Philox's 64-bit key. The first two of the four counter words are a place, such as a row
and a block of columns. The third is the `Use` of the bits, the fourth is 0.

On a CPU torch's own generator draws whole streams: Philox takes a hundred operators there, which
for few rows is longer than the layer. So the same seed gives other bits than on a GPU.
"""

from enum import IntEnum

import torch
from torch import Tensor

from rmmbench.kernels.launch import kernel_or_twin

WORD = 0xFFFFFFFF

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Use(IntEnum):
    """The purpose of random bits; each has its own counters."""

    SIGNS = 0
    PERMUTATION = 1
    BINS = 2
    ENTRIES = 3
    ROUNDING = 4


def words(seed: Tensor, places: Tensor, columns: Tensor | int, use: int, last: int = 0) -> Tensor:
    """Return Philox's four words for each counter (place, column, use, last).

    Args:
        seed: One int64 number, on the device of `places`.
        places: int64, of any shape, below 2³².
        columns: int64, of a shape that broadcasts with `places`, below 2³².
        use: A `Use`, or the third word itself.
        last: The fourth word.

    Returns:
        int64 numbers below 2³², shape (4, *shape of places and columns).
    """
    second = columns if isinstance(columns, Tensor) else places.new_full((), columns)
    places, second = torch.broadcast_tensors(places, second)  # type: ignore[no-untyped-call]
    # Two lanes, (c0, c2) and (c1, c3): a round multiplies the first and mixes in the second one.
    even = torch.stack([places, torch.full_like(places, use)])
    odd = torch.stack([second, torch.full_like(places, last)])
    lanes = (2, *[1] * places.dim())
    multipliers = _constants(_MULTIPLIERS, places).view(lanes)
    key = torch.stack([seed & WORD, (seed >> 32) & WORD]).view(lanes)
    step = _constants(_KEY_STEPS, places).view(lanes)
    for number in range(_ROUNDS):
        # int64 wraps modulo 2⁶⁴. The shift brings in copies of the sign, which are masked away.
        product = even * multipliers
        low = product & WORD
        round_key = (key + number * step).bitwise_and_(WORD)
        even = (product >> 32).flip(0).bitwise_xor_(odd).bitwise_xor_(round_key).bitwise_and_(WORD)
        odd = low.flip(0)
    return torch.stack([even[0], odd[0], even[1], odd[1]])


def stream(seed: Tensor, count: int, use: int) -> Tensor:
    """Return `count` words of one use, int64 below 2³².

    They are `philox_stream`'s on a GPU, and torch's generator's on a CPU.
    """
    if seed.device.type == "cpu":
        drawn = torch.empty(count, dtype=torch.int64, device=seed.device)
        return drawn.random_(0, 2**32, generator=host_generator(seed, use))
    return philox_stream(seed, count, use)


def philox_stream(seed: Tensor, count: int, use: int) -> Tensor:
    """Return `count` of Philox's words of one use, int64 below 2³², four from each counter."""
    return kernel_or_twin("_triton_philox:stream", stream_twin, seed, count, use)


def stream_twin(seed: Tensor, count: int, use: int) -> Tensor:
    """Compute `philox_stream` with PyTorch's own operators."""
    places = torch.arange(-(-count // 4), device=seed.device)
    return words(seed, places, 0, use).T.flatten()[:count]


def host_generator(seed: Tensor | torch.Generator, use: int) -> torch.Generator:
    """Return torch's generator for one use of a seed on the CPU; a generator is returned as it is.

    Making one takes longer than drawing for a few rows, so several draws may share one.
    """
    if isinstance(seed, torch.Generator):
        return seed
    # The generator takes 32 bits: the upper half of a product that every bit of both enters.
    mixed = (int(seed) + use * 0xD1342543DE82EF95) * 0x9E3779B97F4A7C15
    return torch.Generator().manual_seed(mixed >> 32 & WORD)


def below(seed: Tensor | torch.Generator, count: int, bound: int, use: int) -> Tensor:
    """Return `count` random numbers from 0 to below `bound`, int32."""
    if isinstance(seed, torch.Generator) or seed.device.type == "cpu":
        drawn = torch.empty(count, dtype=torch.int32, device=seed.device)
        return drawn.random_(0, bound, generator=host_generator(seed, use))
    return ((philox_stream(seed, count, use) * bound) >> 32).to(torch.int32)


def sign_words(seed: Tensor, rows: int) -> Tensor:
    """Return one random bit per row, packed: row i has bit i % 32 of word i // 32; 1 is minus."""
    return stream(seed, -(-rows // 32), Use.SIGNS)


def unpack_signs(packed: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
    """Return the signs that `sign_words` packed, +1 or −1, shape (rows,)."""
    shifts = torch.arange(32, device=packed.device)
    bits = (packed.unsqueeze(1) >> shifts).bitwise_and_(1).flatten()[:rows]
    return bits.to(dtype).mul_(-2).add_(1)


def signs(seed: Tensor | torch.Generator, rows: int, dtype: torch.dtype) -> Tensor:
    """Return a random sign for each row, shape (rows,), +1 or −1."""
    if isinstance(seed, torch.Generator) or seed.device.type == "cpu":
        generator = host_generator(seed, Use.SIGNS)
        bits = torch.randint(2, (rows,), generator=generator, dtype=dtype, device=seed.device)
        return torch.threshold_(bits, 0, -1)  # a 1 stays, a 0 becomes −1
    return unpack_signs(sign_words(seed, rows), rows, dtype)


def _constants(values: tuple[int, int], like: Tensor) -> Tensor:
    # Filled in on the device: a copy from the host would wait for the GPU.
    return torch.stack([like.new_full((), value) for value in values])
