"""Transforms that are read from one real FFT of length B."""

from abc import abstractmethod

import torch
from torch import Tensor

from rmmbench.sketches._subsampled import SubsampledTransform


class Fourier(SubsampledTransform):
    """A transform whose rows are the real and imaginary parts of a spectrum.

    The real part of a frequency is at place 2·frequency, the imaginary part at the next place.
    """

    def _transform(
        self, x: Tensor, signs: Tensor, places: Tensor, scales: Tensor, out: Tensor
    ) -> None:
        spectrum = self._spectrum(x, signs)
        kept = torch.view_as_real(spectrum).flatten(1).index_select(1, places)
        del spectrum
        out.copy_(kept.mul_(scales).T)

    @abstractmethod
    def _spectrum(self, x: Tensor, signs: Tensor) -> Tensor:
        """Return complex numbers, shape (columns, rows // 2 + 1), that hold the transform."""
