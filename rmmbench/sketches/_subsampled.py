"""Sketches by a fast orthonormal transform: random row signs, the transform, rows of it kept.

SᵀX = (B / B_proj)^½ · R F D X, with D random signs, F orthonormal and R rows taken without
replacement, so that the error goes to 0 as ρ goes to 1. Both transforms here are read off one real
FFT of length B.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from rmmbench.sketches.sketch import WORKSPACE_BYTES, Moments, Sketch

# Float32 elements a row: the signed copy, its spectrum, what is picked of it, and room for the FFT.
_COPIES_PER_COLUMN = 5
# Bytes a row: signs, the permutation, twiddle factors, picked rows and their scales.
_FIXED_BYTES_PER_ROW = 32


class SubsampledTransform(Sketch):
    """An orthonormal transform of the rows, of which proj_dim are kept; B·N·log B work.

    Beyond about a million rows one column no longer fits the workspace, which then grows by 52
    bytes a row, less than 2 % of X at 768 features.
    """

    def _project(self, x: Tensor, proj_dim: int, generator: torch.Generator) -> Tensor:
        rows, features = x.shape
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        signs = torch.randint(0, 2, (rows, 1), generator=generator, dtype=dtype, device=x.device)
        signs.mul_(2).sub_(1)
        picked = torch.randperm(rows, generator=generator, device=x.device)[:proj_dim].clone()
        places, scales = self._places(picked, rows, dtype)
        scales *= (rows / proj_dim) ** 0.5
        x_proj = x.new_empty(proj_dim, features)
        width = _columns_at_once(rows, features, signs.element_size())
        for start in range(0, features, width):
            columns = slice(start, start + width)
            spectrum = self._spectrum(x[:, columns], signs)
            kept = torch.view_as_real(spectrum).flatten(1).index_select(1, places)
            del spectrum
            x_proj[:, columns] = kept.mul_(scales).T
        return x_proj

    @abstractmethod
    def _spectrum(self, x: Tensor, signs: Tensor) -> Tensor:
        """Return complex numbers, shape (columns, rows // 2 + 1), that hold the transform."""

    @abstractmethod
    def _places(self, picked: Tensor, rows: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return where the transform's `picked` rows stand in the spectrum, and their scales.

        Real and imaginary parts in turn, the places are 2·frequency and 2·frequency + 1.
        """

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return P (1 − ρ) / (ρ (B − 1)), exact to a relative 1 / B.

        It would be exact if all entries of the transform had one size, as a Hadamard matrix's do.
        """
        if proj_dim == rows:
            return 0.0
        return moments.signed * (rows - proj_dim) / (proj_dim * (rows - 1))


def _columns_at_once(rows: int, features: int, element_bytes: int) -> int:
    column_bytes = rows * _COPIES_PER_COLUMN * element_bytes
    limit = (WORKSPACE_BYTES - rows * _FIXED_BYTES_PER_ROW) // column_bytes
    # An eighth of X where that is less, so that the copies are not the peak of a small model.
    return max(1, min(limit, max(16, -(-features // 8))))
