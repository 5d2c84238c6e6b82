"""The paper's DFT sketch, on the real Fourier basis, so that x_proj has B_proj real rows."""

import torch
from torch import Tensor

from rmmbench.sketches._fourier import Fourier


class DFT(Fourier):
    """The rows are a constant, then cosine and sine of each frequency, then alternating for even B.

    Row 2j − 1 is (2/B)^½ cos(2πjm/B) and row 2j the sine; row 0 and the alternating row have ±B^−½.
    """

    def _spectrum(self, x: Tensor, signs: Tensor) -> Tensor:
        spectrum: Tensor = torch.fft.rfft((x * signs).T.contiguous())
        return spectrum

    def _places(self, picked: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        places = torch.where(picked == 0, 0, picked + 1)
        # The first and, for even B, the middle frequency have a real part alone.
        alone = (picked == 0) | ((picked == length - 1) & (length % 2 == 0))
        scales = torch.full_like(places, (2 / length) ** 0.5, dtype=dtype)
        return places, scales.masked_fill_(alone, length**-0.5)
