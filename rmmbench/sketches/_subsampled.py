"""Sketches that keep some rows of a fast orthonormal transform of X with random row signs.

SᵀX = (B / B_proj)^½ · R F D X: D has the random signs, F is the orthonormal transform, and R picks
rows without replacement, so that the error goes to 0 as ρ goes to 1.
"""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from rmmbench.kernels import philox
from rmmbench.kernels.permutation import permutation
from rmmbench.sketches.sketch import WORKSPACE_BYTES, Moments, Sketch
from rmmbench.spec.gpus import FAKE_DEVICE

# Signs, the permutation and what makes it, twiddle factors, picked rows and their scales.
_FIXED_BYTES_PER_ROW = 40

# The divisor of a GPU's memory: 320 MiB of 80 GiB, in which 131072 × 4096 is 33 pieces and not 179.
_SHARE_OF_GPU = 256


def workspace_bytes(device: torch.device) -> int:
    """Return the most memory for a transform: WORKSPACE_BYTES, or more on a large GPU."""
    has_gpu = torch.cuda.is_available() if device.type == "cuda" else device.type == FAKE_DEVICE
    if not has_gpu:
        return WORKSPACE_BYTES
    total: int = torch.get_device_module(device).get_device_properties(device).total_memory
    return max(WORKSPACE_BYTES, total // _SHARE_OF_GPU)


class SubsampledTransform(Sketch):
    """An orthonormal transform of the rows, of which proj_dim are kept; B·N·log B work.

    With more than about a million rows one column no longer fits the workspace, which then grows by
    60 bytes per row, about 2 % of X at 768 features.
    """

    # Float32 elements per row that it takes to transform one column.
    copies_per_column: ClassVar[int] = 5

    def _project(self, x: Tensor, proj_dim: int, key: Tensor) -> Tensor:
        rows, features = x.shape
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        signs = philox.signs(key, rows, dtype).unsqueeze(1)
        length = self.length(rows)
        picked = permutation(key, length)[:proj_dim].clone()
        places, scales = self._places(picked, length, dtype)
        scales *= (length / proj_dim) ** 0.5
        x_proj = x.new_empty(proj_dim, features)
        width = self._columns_at_once(x, dtype.itemsize)
        for start in range(0, features, width):
            columns = slice(start, start + width)
            self._transform(x[:, columns], signs, places, scales, out=x_proj[:, columns])
        return x_proj

    def length(self, rows: int) -> int:
        """Return the length of the transform, to which X is padded with zeros."""
        return rows

    @abstractmethod
    def _places(self, picked: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the places of the `picked` rows in the transform, int32, and their scales."""

    @abstractmethod
    def _transform(
        self, x: Tensor, signs: Tensor, places: Tensor, scales: Tensor, out: Tensor
    ) -> None:
        """Transform signs · x, and write the rows at `places`, times `scales`, to `out`."""

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return P (1 − ρ) / (ρ (B − 1)), where B is the transform's length; exact to 1 / B of it.

        It is exact if all entries of the transform have one size, as in a Hadamard matrix.
        """
        length = self.length(rows)
        if proj_dim == length:
            return 0.0
        return moments.signed * (length - proj_dim) / (proj_dim * (length - 1))

    def flops(self, rows: int, features: int, proj_dim: int) -> int:
        """Return 2·B·N·log₂ B for the transform and 2·B·N for signs and scales."""
        length = self.length(rows)
        return round(2 * length * features * (math.log2(length) + 1))

    def _columns_at_once(self, x: Tensor, element_bytes: int) -> int:
        rows, features = x.shape
        column_bytes = self.length(rows) * self.copies_per_column * element_bytes
        limit = (workspace_bytes(x.device) - rows * _FIXED_BYTES_PER_ROW) // column_bytes
        # At most an eighth of X, so that the copies are not the peak of a small model.
        return max(1, min(limit, max(16, -(-features // 8))))
