"""Sketches whose S has independent entries, or is block-diagonal with such blocks."""

from torch import Tensor

from rmmbench.sketches._blocked import Blocked


class DenseSketch(Blocked):
    """S with independent entries of mean 0 and variance 1 / B_proj; B·B_proj·N work.

    With block_rows S is block-diagonal, and its columns are divided evenly among the blocks. The
    work is divided by the number of blocks; the variance is the sum of the blocks' variances.
    """

    def check_size(self, x: Tensor, proj_dim: int) -> None:
        """Check a size like any sketch, and that the blocks can share the columns evenly."""
        super().check_size(x, proj_dim)
        blocks = self.blocks(x.shape[0])
        if proj_dim % blocks:
            given = f"got {proj_dim} for {blocks} blocks of {self.block_rows} rows"
            nearest = self.size_from(x.shape[0], proj_dim)
            raise ValueError(f"proj_dim must divide among the blocks, {given}; try {nearest}")

    def size_from(self, rows: int, wanted: int) -> int:
        """Return `wanted`, rounded up to a multiple of the number of blocks."""
        blocks = self.blocks(rows)
        return -(-wanted // blocks) * blocks

    def flops(self, rows: int, features: int, proj_dim: int) -> int:
        """Return 2·B·B_proj·N, divided by the number of blocks."""
        return 2 * rows * proj_dim * features // self.blocks(rows)

    def blocks(self, rows: int) -> int:
        """Return the number of blocks; 1 without block_rows."""
        return rows // (self.block_rows or rows)
