"""Sketches whose S has one entry ±1 per row: the rows of X are added up in bins, with signs."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from rmmbench.kernels import philox
from rmmbench.kernels.bins import bin_sums, bin_sums_and_total, bin_sums_in_bits
from rmmbench.sketches.sketch import Moments, Sketch


class Binned(Sketch):
    """Each row goes into one of B_proj bins with a random sign; B·N work and no S."""

    def project_and_sum(self, y: Tensor, proj_dim: int, seed: Tensor) -> tuple[Tensor, Tensor]:
        """Return SᵀY and the sum of Y's rows, in one pass over Y where a kernel can run."""
        return self._with_key(self._project_and_sum, y, proj_dim, seed)

    def project_in_bits(
        self, x: Tensor, proj_dim: int, key: Tensor, bits: int, seed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return SᵀX in few bits; where a kernel can run, SᵀX itself is never in memory."""

        def apply(x: Tensor, proj_dim: int, key: Tensor) -> tuple[Tensor, Tensor]:
            return bin_sums_in_bits(x, *self._plan(x, proj_dim, key), bits, seed)

        return self._with_key(apply, x, proj_dim, key)

    def _project(self, x: Tensor, proj_dim: int, key: Tensor) -> Tensor:
        return bin_sums(x, *self._plan(x, proj_dim, key))

    def _project_and_sum(self, y: Tensor, proj_dim: int, key: Tensor) -> tuple[Tensor, Tensor]:
        return bin_sums_and_total(y, *self._plan(y, proj_dim, key))

    def _plan(self, x: Tensor, proj_dim: int, seed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = x.shape[0]
        if not x.is_cpu:
            return *self._bins(rows, proj_dim, seed), philox.sign_words(seed, rows)
        generator = philox.host_generator(seed, philox.Use.BINS)
        # torch's bag takes signs of its own dtype, and bfloat16 is summed in float32.
        dtype = torch.float32 if x.dtype == torch.bfloat16 else x.dtype
        signs = philox.signs(generator, rows, dtype)
        return *self._bins(rows, proj_dim, generator), signs

    def rounding(
        self, noise: Callable[[int], float], moments: Moments, rows: int, proj_dim: int
    ) -> float:
        """Return the noise that rounding x_proj adds: the mean, over rows, of that of their bin."""
        sizes = self._bin_sizes(rows, proj_dim)
        return sum(share * noise(size) for size, share in sizes.items())

    @abstractmethod
    def _bin_sizes(self, rows: int, proj_dim: int) -> dict[int, float]:
        """Return how large bins are, with the share of all rows that is in bins of that size."""

    @abstractmethod
    def _bins(
        self, rows: int, proj_dim: int, seed: Tensor | torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the numbers of the rows, bin by bin, and where each bin starts, both int32.

        On a CPU `seed` is the generator that also draws the signs.
        """

    def flops(self, rows: int, features: int, proj_dim: int) -> int:
        """Return B·N: one signed addition per element of X."""
        return rows * features
