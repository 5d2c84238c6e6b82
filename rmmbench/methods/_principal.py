"""What a layer keeps that keeps the principal features of its input and random ones of the rest.

Write X for the input, shape (rows, N). Of an orthonormal Q = [Q₁ Q₂] the r₁ columns of Q₁ follow
the directions in which X is largest, and the r₂ columns of Q₂ are a random basis, uniform among
those orthogonal to Q₁. With s = (N − r₁) / r₂, E[Q₁Q₁ᵀ + s·Q₂Q₂ᵀ] = I. What is kept is X Q and Q.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from rmmbench.kernels import dense
from rmmbench.kernels.launch import is_on_gpu
from rmmbench.nn import ops


class PrincipalAndRandom(NamedTuple):
    """Keeps Z = X Q and Q. Where no features would be fewer, the layer is exact.

    The layer has a basis that spans Q₁, float32, as its buffer `basis`, which is not in the state
    dict. Each call moves it by one step of subspace iteration, for the next call.

    Attributes:
        rho: Features kept ÷ features, in (0, 1].
        principal_share: Principal features ÷ features kept; one at least is random.

    Saves for backward: (rows + in_features) · ⌈rho · in_features⌉ elements.
    """

    rho: float
    principal_share: float

    @property
    def beside(self) -> tuple[str, ...]:
        """The attributes that a layer has for it."""
        return ("basis",)

    def ranks(self, features: int) -> tuple[int, int]:
        """Return r₁ and r₂."""
        kept = min(features, max(1, math.ceil(self.rho * features)))
        principal = min(kept - 1, math.floor(self.principal_share * kept))
        return principal, kept - principal

    def at(self, shape: torch.Size) -> "TwoPartProduct | None":
        """Return what makes the weight gradient; None where there is nothing to save."""
        principal, random = self.ranks(shape[-1])
        is_whole = principal + random == shape[-1]
        return None if is_whole or 0 in shape else TwoPartProduct(principal, random)

    def keep(
        self, input: Tensor, x: Tensor, estimator: "TwoPartProduct", layer: Any
    ) -> tuple[Tensor, ...]:
        """Return Z and Q, and let the layer's basis follow X."""
        with torch.no_grad():
            coefficients, directions, following = features_of(
                x, layer.basis, estimator.random, None
            )
            layer.basis.copy_(following)
        return coefficients, directions


class TwoPartProduct(NamedTuple):
    """The weight gradient (YᵀZ₁) Q₁ᵀ + s·(YᵀZ₂) Q₂ᵀ.

    Attributes:
        principal: r₁, the columns of Q₁.
        random: r₂, the columns of Q₂.
    """

    principal: int
    random: int

    def gradients(
        self, y: Tensor, kept: tuple[Tensor, ...], weight: Tensor, has_bias: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of weight and bias."""
        coefficients, directions = kept
        sizes = [self.principal, self.random]
        first, second = torch.split(y.T @ coefficients, sizes, 1)
        fixed, drawn = torch.split(directions, sizes, 1)
        # Within the product: rounded to bfloat16, s would make the gradient biased.
        scale = (weight.shape[1] - self.principal) / self.random
        gradient = torch.addmm(first @ fixed.T, second, drawn.T, alpha=scale)
        return gradient, y.sum(0) if has_bias else None


def _features_of(
    x: Tensor, basis: Tensor, random: int, seed: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    key = ops.call(ops.draw_seed, x, seed)
    precise = torch.promote_types(x.dtype, torch.float32)
    before = basis.to(precise)
    entries = dense.normal_entries if is_on_gpu(x) else dense.torch_normals(key)
    drawn = entries(key, range(x.shape[1]), range(random), precise)
    directions = torch.linalg.qr(torch.cat([before, drawn], 1)).Q.to(x.dtype).contiguous()
    coefficients = x @ directions
    principal = basis.shape[1]
    following = (x.T @ coefficients[:, :principal]).to(precise)
    following /= torch.linalg.matrix_norm(following)
    # An overflow, or an input of zeros, leaves the basis as it was.
    is_sound = following.isfinite().all()
    return coefficients, directions, torch.where(is_sound, following, before)


def _fake_features_of(
    x: Tensor, basis: Tensor, random: int, seed: Any
) -> tuple[Tensor, Tensor, Tensor]:
    kept = basis.shape[1] + random
    precise = torch.promote_types(x.dtype, torch.float32)
    following = basis.new_empty(basis.shape, dtype=precise)
    return x.new_empty(x.shape[0], kept), x.new_empty(x.shape[1], kept), following


features_of = ops.operator(
    "features_of(Tensor x, Tensor basis, SymInt random, Tensor? seed) -> (Tensor, Tensor, Tensor)",
    _features_of,
    _fake_features_of,
    torch.Tag.nondeterministic_seeded,
)
"""Returns Z, Q and the next basis, in one operator: a checkpoint keeps all of them or none.

So what a layer's basis is when a block is computed again does not matter. X has shape (rows,
features); `basis` spans Q₁, its columns need not be orthonormal; `random` is r₂. The seed of Q₂ is
drawn unless it is given.
"""


@register_flop_formula([features_of.overloadpacket])
def _flops(
    x_shape: tuple[int, int], basis_shape: tuple[int, int], random: int, *_: Any, **__: Any
) -> int:
    rows, features = x_shape
    principal = basis_shape[1]
    # Two products with X; the factorisation takes features · kept² and is the least of it.
    return 2 * rows * features * (2 * principal + random)
