"""What decides between rounding up and down: 1 + u, with u uniform between 0 and 1, in float32.

On a GPU Philox draws each u, so that a kernel and its twin have the same. On a CPU drawing takes
longer than all the rest of rounding, so there the rows of a large matrix share some of their bits:
row i has those of row i mod R, a few of which are flipped, as is drawn for row i alone. Two
numbers are independent still: of two rows as their flips are, of one row as its own bits are. Four
or more are not, so that the squared error of a single draw spreads a little more.
"""

import torch
from torch import Tensor

from rmmbench.kernels import philox

# Bits of 1.0, and those behind its point.
_ONE, _FRACTION = 0x3F800000, 0x007FFFFF
# Random numbers that rows share on a CPU.
_SHARED = 2**17
# Words of 16 bits from one counter of Philox.
_A_COUNTER = 8


class HostChances:
    """Draws from torch's generator, for a few rows after the other."""

    def __init__(self, seed: Tensor, size: tuple[int, int], height: int) -> None:
        """Draw for a matrix.

        Args:
            seed: One int64 number.
            size: Rows and features, which are an even number.
            height: Rows that are asked for at once, at most.
        """
        (rows, width), generator = size, philox.host_generator(seed, philox.Use.ROUNDING)

        def fractions(rows: int, width: int) -> Tensor:
            # Two in one draw.
            drawn = torch.empty(rows, width // 2, dtype=torch.int64, device=seed.device)
            drawn.random_(-(2**63), None, generator=generator)
            return drawn.view(torch.int32).bitwise_and_(_FRACTION)

        height = min(rows, height)
        shared = fractions(min(height, max(1, _SHARED // max(1, width))), width).bitwise_or_(_ONE)
        if len(shared) < height:
            shared = shared.repeat(-(-height // len(shared)), 1)[:height]
        self._shared, self._room = shared, torch.empty_like(shared)
        self._flips = fractions(1, rows + rows % 2).view(-1, 1)

    def __call__(self, rows: range, width: int) -> Tensor:
        """Return the numbers of some rows, until the next call."""
        flips = self._flips[rows.start : rows.stop]
        mixed = (self._shared[: len(flips)], flips)
        return torch.bitwise_xor(*mixed, out=self._room[: len(flips)]).view(torch.float32)


def philox_chances(seed: Tensor, rows: range, width: int) -> Tensor:
    """Return those of a GPU for some rows, eight from each counter (row, features / 8)."""
    places = torch.arange(rows.start, rows.stop, device=seed.device).unsqueeze(1)
    columns = torch.arange(width // _A_COUNTER, device=seed.device)
    words = philox.words(seed, places, columns, philox.Use.ROUNDING)
    halves = words.permute(1, 2, 0).to(torch.int32).contiguous().view(torch.int16).flatten(1)
    # With the offset u is within its ends.
    return halves.float().mul_(2.0**-16).add_(1.5 + 2.0**-17)
