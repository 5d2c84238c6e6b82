"""What a layer keeps that keeps a random projection of the features of its input, in few bits."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from rmmbench.kernels import dense
from rmmbench.methods._quantised import Quantised, product, quantise
from rmmbench.nn import ops
from rmmbench.nn.autocast import outside_of_autograd


class Projected(NamedTuple):
    """Keeps X_p = X R, in few bits.

    Where neither features nor bits would be fewer, the layer is exact.

    Attributes:
        rho: Features kept ÷ features, in (0, 1]; 1 leaves them as they are.
        bits: Of a number; None to leave it as it is.
        seed: Of R and of what is rounded up, one int64 number; drawn if it is None.

    Saves for backward: rows · (⌈k · bits / 8⌉ + 4) bytes, rows · k elements where bits is None, and
    one 8-byte seed.
    """

    rho: float
    bits: int | None = None
    seed: Tensor | None = None

    def proj_dim_for(self, features: int) -> int:
        """Return min(features, max(1, ceil(rho · features)))."""
        # A dict's key is a constant to torch.compile. With dynamic=True rho would be a symbol,
        # which no operator of ours can take.
        (rho,) = {self.rho: None}
        return min(features, max(1, math.ceil(rho * features)))

    def at(self, shape: torch.Size) -> "ProjectedProduct | None":
        """Return what makes the weight gradient; None where there is nothing to save."""
        proj_dim = self.proj_dim_for(shape[-1])
        is_whole = proj_dim == shape[-1] and self.bits is None
        return None if is_whole or 0 in shape else ProjectedProduct(proj_dim, self.bits)

    def keep(
        self, input: Tensor, x: Tensor, estimator: "ProjectedProduct", layer: Any
    ) -> tuple[Tensor, ...]:
        """Return the seed and X_p."""
        proj_dim, bits = estimator
        with outside_of_autograd(x):
            if proj_dim == x.shape[1]:
                key, x_proj = ops.draw_seed(x, self.seed), x
            else:
                key, x_proj = projection_of(x, proj_dim, self.seed)
            if bits is None:
                return key, x_proj
            return key, *quantise(x_proj, bits, key, ends=torch.bfloat16)


class ProjectedProduct(NamedTuple):
    """The weight gradient (YᵀX_p) Rᵀ.

    Attributes:
        proj_dim: Columns of R.
        bits: Of a number of X_p; None if it is there as it was.
    """

    proj_dim: int
    bits: int | None

    def gradients(
        self, y: Tensor, kept: tuple[Tensor, ...], weight: Tensor, has_bias: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of weight and bias."""
        key, *x_proj = kept
        signs = _signs(key, weight.shape[1], self.proj_dim, y.dtype)
        if self.bits is None:
            y_x_proj = y.T @ x_proj[0]
        else:
            y_x_proj = product(y, Quantised(*x_proj), self.proj_dim, self.bits)
        gradient = _project(y_x_proj, None if signs is None else signs.T, self.proj_dim)
        return gradient, y.sum(0) if has_bias else None


def _projection_of(x: Tensor, proj_dim: int, seed: Tensor | None) -> tuple[Tensor, Tensor]:
    key = ops.call(ops.draw_seed, x, seed)
    return key, _project(x, _signs(key, x.shape[1], proj_dim, x.dtype), proj_dim)


def _fake_projection_of(x: Tensor, proj_dim: int, seed: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty((), dtype=torch.int64), x.new_empty(x.shape[0], proj_dim)


projection_of = ops.operator(
    "projection_of(Tensor x, SymInt proj_dim, Tensor? seed) -> (Tensor, Tensor)",
    _projection_of,
    _fake_projection_of,
    torch.Tag.nondeterministic_seeded,
)
"""Returns the seed of R and X R, in one operator: a checkpoint keeps both or neither.

One that kept products alone would else keep X R, and draw another R. X has shape (rows, features),
and R proj_dim columns, fewer than features. The seed is drawn unless it is given.
"""


@register_flop_formula([projection_of.overloadpacket])
def _flops(x_shape: tuple[int, int], proj_dim: int, *_: Any, **__: Any) -> int:
    return 2 * math.prod(x_shape) * proj_dim


def _signs(key: Tensor, features: int, proj_dim: int, dtype: torch.dtype) -> Tensor | None:
    """Return R without its scale, shape (features, proj_dim); None for no projection.

    It is there as a whole for a moment: unlike an S over rows it does not grow with the batch.
    """
    if proj_dim == features:
        return None
    return dense.sign_entries(key, range(features), range(proj_dim), dtype)


def _project(x: Tensor, signs: Tensor | None, proj_dim: int) -> Tensor:
    """Return x · signs · proj_dim^−½, or x where there are no signs."""
    if signs is None:
        return x
    # Within the product: rounded to bfloat16, or multiplied with what is, the factor would make the
    # gradient biased. And in place of nothing: a selective checkpoint keeps what a product gives.
    return torch.addmm(x.new_empty(1), x, signs, beta=0, alpha=proj_dim**-0.5)
