"""The paper's Gaussian sketch: independent normal entries of standard deviation B_proj^−½.

Its variance is (a + g) / B_proj. Eq. 11 of the paper, (a − g) / B_proj, leaves out the cross terms
and the fourth moment.
"""

from torch import Tensor

from rmmbench.kernels import dense
from rmmbench.kernels.launch import is_on_gpu
from rmmbench.sketches._dense import DenseSketch
from rmmbench.sketches.sketch import Moments


class Gaussian(DenseSketch):
    """S with independent entries N(0, 1 / B_proj): by torch's generator on the CPU, else Philox."""

    def _project(self, x: Tensor, proj_dim: int, key: Tensor) -> Tensor:
        entries = dense.normal_entries if is_on_gpu(x) else dense.torch_normals(key)
        return dense.project(x, proj_dim, self.block_rows or x.shape[0], key, entries)

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return (a + g) / B_proj; with blocks, the sum over the blocks."""
        return (moments.a_blocks + moments.g_blocks) * self.blocks(rows) / proj_dim
