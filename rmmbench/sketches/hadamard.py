"""Subsampled randomised Hadamard transform, of any number of rows.

Ailon, Chazelle (2006): Approximate nearest neighbors and the fast Johnson-Lindenstrauss transform.
Tropp (2011): Improved analysis of the subsampled randomized Hadamard transform. arXiv 1011.1595.

X is padded with zero rows to a power of two, which is the B of the variance; it is exact here.
"""

import torch
from torch import Tensor

from rmmbench.sketches._subsampled import SubsampledTransform

# The transform is a product of Hadamard matrices of at most this size. Matrix products take more
# work than additions alone, and less memory traffic.
_FACTOR = 32


class Hadamard(SubsampledTransform):
    """Row j has entries ±B^−½; the parity of the bits that j and the column share is the sign."""

    copies_per_column = 3

    def length(self, rows: int) -> int:
        """Return the next power of two."""
        return 1 << (rows - 1).bit_length()

    def _places(self, picked: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return picked, torch.full_like(picked, length**-0.5, dtype=dtype)

    def _transform(
        self, x: Tensor, signs: Tensor, places: Tensor, scales: Tensor, out: Tensor
    ) -> None:
        rows, columns = x.shape
        values = signs.new_zeros(self.length(rows), columns)
        torch.mul(x, signs, out=values[:rows])
        inner = columns
        while inner < values.numel():
            size = min(_FACTOR, values.numel() // inner)
            # One digit of the row's number in base `size` per turn, the lowest first.
            values = torch.matmul(_matrix(size, values), values.view(-1, size, inner))
            inner *= size
        kept = values.view(-1, columns).index_select(0, places)
        out.copy_(kept.mul_(scales.unsqueeze(1)))


def _matrix(size: int, like: Tensor) -> Tensor:
    """Return the Hadamard matrix of ±1 whose size is a power of two."""
    matrix = like.new_ones(1, 1)
    two = like.new_ones(2, 2)
    two[1, 1] = -1
    while matrix.shape[0] < size:
        matrix = torch.kron(two, matrix)
    return matrix
