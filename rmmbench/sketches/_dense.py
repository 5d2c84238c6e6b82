"""Sketches whose S has independent entries: drawn in blocks of columns, applied, forgotten."""

from abc import abstractmethod

import torch
from torch import Tensor

from rmmbench.sketches.sketch import WORKSPACE_BYTES, Sketch

# A block is drawn in float32 and may need a copy in x's dtype.
_BLOCK_ELEMENTS = WORKSPACE_BYTES // 8
# Smaller blocks where S is small, so that it is not the peak of a small model.
_BLOCKS, _FEWEST_COLUMNS = 8, 64


class DenseSketch(Sketch):
    """S with independent entries of mean 0 and variance 1 / proj_dim; B·B_proj·N work."""

    def _project(self, x: Tensor, proj_dim: int, generator: torch.Generator) -> Tensor:
        x_proj = x.new_empty(proj_dim, x.shape[1])
        # Of rows and proj_dim alone: X and Y must meet the same blocks of the same S.
        columns = max(_FEWEST_COLUMNS, -(-proj_dim // _BLOCKS))
        columns = max(1, min(columns, _BLOCK_ELEMENTS // x.shape[0]))
        for start in range(0, proj_dim, columns):
            block = x_proj[start : start + columns]
            # One segment, but for more rows than fit into a block.
            for number, segment in enumerate(torch.split(x, _BLOCK_ELEMENTS)):
                entries = self._entries(block.shape[0], segment, generator).mul_(proj_dim**-0.5)
                entries = entries.to(x.dtype)
                if number == 0:
                    torch.mm(entries, segment, out=block)
                else:
                    block.addmm_(entries, segment)
                del entries  # before the next is drawn
        return x_proj

    @abstractmethod
    def _entries(self, columns: int, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return `columns` columns of S for the rows of x, as rows, with entries of variance 1."""
