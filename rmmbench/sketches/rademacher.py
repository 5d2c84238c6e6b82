"""The paper's Rademacher sketch: independent signs ±B_proj^−½."""

from torch import Tensor

from rmmbench.kernels import dense
from rmmbench.sketches._dense import DenseSketch
from rmmbench.sketches.sketch import Moments


class Rademacher(DenseSketch):
    """S with independent entries ±B_proj^−½."""

    def _project(self, x: Tensor, proj_dim: int, key: Tensor) -> Tensor:
        block_rows = self.block_rows or x.shape[0]
        return dense.project(x, proj_dim, block_rows, key, dense.sign_entries)

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return (a + g − 2d) / B_proj; with blocks, the sum over the blocks."""
        return moments.in_blocks().signed * self.blocks(rows) / proj_dim
