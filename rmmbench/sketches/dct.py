"""The paper's DCT sketch: rows of the orthonormal DCT-II.

The transform is read from one FFT of length B of the even rows, followed by the odd ones in reverse
[Makhoul 1980, A fast cosine transform in one and two dimensions].
"""

import math

import torch
from torch import Tensor

from rmmbench.sketches._fourier import Fourier


class DCT(Fourier):
    """Row j is (2/B)^½ cos(πj(2m + 1)/2B); row 0 is B^−½."""

    def _spectrum(self, x: Tensor, signs: Tensor) -> Tensor:
        rows, columns = x.shape
        middle = (rows + 1) // 2
        folded = signs.new_empty(columns, rows)
        torch.mul(x[::2].T, signs[::2].T, out=folded[:, :middle])
        folded[:, middle:] = (x[1::2] * signs[1::2]).flip(0).T
        spectrum: Tensor = torch.fft.rfft(folded)
        frequencies = torch.arange(rows // 2 + 1, device=x.device, dtype=signs.dtype)
        turns = torch.polar(torch.ones_like(frequencies), frequencies * (-math.pi / (2 * rows)))
        return spectrum.mul_(turns)

    def _places(self, picked: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        # Row j ≤ B / 2 is a real part; row B − j is minus the imaginary part of frequency j.
        is_real = picked <= length // 2
        places = torch.where(is_real, 2 * picked, 2 * (length - picked) + 1)
        scales = torch.full_like(places, (2 / length) ** 0.5, dtype=dtype)
        scales = torch.where(is_real, scales, -scales)
        return places, scales.masked_fill_(picked == 0, length**-0.5)
