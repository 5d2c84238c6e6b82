"""Transforms that are read off one real FFT of length B."""

from abc import abstractmethod

import torch
from torch import Tensor

from rmmbench.sketches._subsampled import SubsampledTransform


class Fourier(SubsampledTransform):
    """A transform whose rows are real and imaginary parts of a spectrum.

    Real and imaginary parts in turn, its places are 2·frequency and 2·frequency + 1.
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
