"""Keeps what is orthogonal to the signed mean of each group of rows, in one pass over X.

With more than half of the rows kept, oporp's bins hold one row or two: the rows that are alone are
exact, the pairs lose half of what they are, and the error is up to twice that of the best
transform. Here B − k equal groups lose one direction each: a Householder reflection [Householder
1958, Unitary triangularization of a nonsymmetric matrix] turns the signed mean of a group of m rows
into its last row, and the m − 1 others are kept, times (m / (m − 1))^½. S Sᵀ has ones on its
diagonal and ∓1 / (m − 1) beside it. With half of the rows or fewer this is oporp.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rmmbench.kernels import philox
from rmmbench.kernels.permutation import permutation
from rmmbench.kernels.rounding import round_to_bits
from rmmbench.sketches.oporp import OPORP
from rmmbench.sketches.sketch import Moments

# Elements of X that are there in float32 at a time: about a processor's cache, or a few launches.
_CPU_PIECE_ELEMENTS, _GPU_PIECE_ELEMENTS = 2**18, 2**22


class Householder(OPORP):
    """Groups whose sizes differ by at most one lose their signed mean; B·N work."""

    def project_and_sum(self, y: Tensor, proj_dim: int, seed: Tensor) -> tuple[Tensor, Tensor]:
        """Return SᵀY and the sum of Y's rows."""
        if _has_bins(y.shape[0], proj_dim):
            return super().project_and_sum(y, proj_dim, seed)
        return self.project(y, proj_dim, seed), y.sum(0)

    def project_in_bits(
        self, x: Tensor, proj_dim: int, key: Tensor, bits: int, seed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return SᵀX in few bits; in one pass where S is oporp's."""
        if _has_bins(x.shape[0], proj_dim):
            return super().project_in_bits(x, proj_dim, key, bits, seed)
        return round_to_bits(self.project(x, proj_dim, key), bits, seed)

    def _project(self, x: Tensor, proj_dim: int, key: Tensor) -> Tensor:
        rows, features = x.shape
        if _has_bins(rows, proj_dim):
            return super()._project(x, proj_dim, key)
        seed = philox.host_generator(key, philox.Use.BINS) if x.is_cpu else key
        precise = torch.promote_types(x.dtype, torch.float32)
        order, signs = permutation(seed, rows), philox.signs(seed, rows, precise).unsqueeze(1)
        x_proj = x.new_empty(proj_dim, features)
        size, larger = divmod(rows, rows - proj_dim)
        # The groups with a row more come last.
        split = size * (rows - proj_dim - larger)
        parts = ((size, slice(None, split)), (size + 1, slice(split, None)))
        kept = torch.split(x_proj, [proj_dim - larger * size, larger * size])
        for (height, some), out in zip(parts, kept, strict=True):
            _reflect(x, order[some], signs[some], height, out)
        return x_proj

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return P Σ m / (m − 1) / (B (B − 1)) over the groups' sizes m, for ρ above ½.

        For equal groups that is P (1 − ρ) / (ρ (B − 1)).
        """
        if _has_bins(rows, proj_dim):
            return super().variance(moments, rows, proj_dim)
        groups = rows - proj_dim
        size, larger = divmod(rows, groups)
        pairs = (groups - larger) * size / (size - 1) + larger * (size + 1) / size
        return moments.signed * pairs / (rows * (rows - 1))

    def rounding(
        self, noise: Callable[[int], float], moments: Moments, rows: int, proj_dim: int
    ) -> float:
        """Return the noise that rounding x_proj adds; near it, not exact, above ρ = ½.

        Each kept row is taken for one of oporp's pairs, of the length that it has here: what
        spreads its numbers is that it mixes rows, however many.
        """
        if _has_bins(rows, proj_dim):
            return super().rounding(noise, moments, rows, proj_dim)
        return noise(2) / 2 * rows / proj_dim

    def flops(self, rows: int, features: int, proj_dim: int) -> int:
        """Return B·N for the sums; above ρ = ½ also 2·B_proj·N for differences and scales."""
        reflected = 0 if _has_bins(rows, proj_dim) else 2 * proj_dim * features
        return super().flops(rows, features, proj_dim) + reflected


def _has_bins(rows: int, proj_dim: int) -> bool:
    """Tell whether S is oporp's; at ρ = ½ both lose as much."""
    return 2 * proj_dim <= rows or proj_dim == rows


def _reflect(x: Tensor, order: Tensor, signs: Tensor, height: int, out: Tensor) -> None:
    """Write what is kept of groups of `height` rows, which follow one another in `order`."""
    groups, features = len(order) // height, x.shape[1]
    most = _CPU_PIECE_ELEMENTS if x.is_cpu else _GPU_PIECE_ELEMENTS
    # At most an eighth of X, so that a copy is not the peak of a small model.
    at_once = max(1, min(most, max(most // 16, x.numel() // 8)) // max(1, height * features))
    root = height**0.5
    scale = (height / (height - 1)) ** 0.5
    for start in range(0, groups, at_once):
        end = min(groups, start + at_once)
        rows = slice(start * height, end * height)
        # Another copy where X is not in float32 is of a piece.
        piece = x.index_select(0, order[rows]).to(signs.dtype).mul_(signs[rows] * scale)
        piece = piece.view(-1, height, features)
        shift = piece.sum(1).div_(root).add_(piece[:, -1]).div_(root + 1).unsqueeze(1)
        kept = out[start * (height - 1) : end * (height - 1)].view(-1, height - 1, features)
        kept.copy_(piece[:, :-1].sub_(shift))
