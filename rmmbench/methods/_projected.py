"""A linear map that keeps a random projection of the features of its input, in few bits."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn

from rmmbench.kernels import dense
from rmmbench.methods._quantised import Quantised, product, quantise
from rmmbench.nn import ops
from rmmbench.nn.functional import as_autocast, kept_weight
from rmmbench.nn.unusual import can_be_sketched


class Compression(NamedTuple):
    """How a layer keeps its input.

    Attributes:
        rho: Features kept ÷ features, in (0, 1]; 1 leaves them as they are.
        bits: Of a number; None to leave it as it is.
    """

    rho: float
    bits: int | None = None

    def proj_dim_for(self, features: int) -> int:
        """Return min(features, max(1, ceil(rho · features)))."""
        return min(features, max(1, math.ceil(self.rho * features)))


class Projected:
    """What a converted layer has beside its parameters.

    Attributes:
        compression: How its input is kept.
        exact: While true the layer is the exact one.
    """

    compression: Compression
    exact: bool
    training: bool

    def apply_linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return input · weightᵀ + bias; in eval mode nothing is drawn."""
        if self.exact or not self.training:
            return F.linear(input, weight, bias)
        return projected_linear(input, weight, bias, self.compression)


class ProjectedLinear(Projected, nn.Linear):
    """`torch.nn.Linear`, converted."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the linear map of `input`, shape (*, in_features) to (*, out_features)."""
        return self.apply_linear(input, self.weight, self.bias)


class ProjectedConv1D(Projected, nn.Module):
    """transformers' `Conv1D`, converted: weight of shape (in_features, out_features)."""

    weight: nn.Parameter
    bias: nn.Parameter

    def forward(self, input: Tensor) -> Tensor:
        """Return the linear map of `input`, shape (*, in_features) to (*, out_features)."""
        return self.apply_linear(input, self.weight.T, self.bias)


def projected_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    compression: Compression,
    seed: Tensor | None = None,
) -> Tensor:
    """Apply a linear map whose weight gradient is estimated from compressed features of its input.

    Output, input gradient and bias gradient are exact; the weight gradient is unbiased. Where there
    is nothing to save (no gradient of the weight is asked for, the input is empty, or neither
    features nor bits would be fewer) this is `torch.nn.functional.linear` and nothing is drawn.

    Args:
        input: Shape (*, in_features); its leading dimensions together are the rows.
        weight: Shape (out_features, in_features).
        bias: Shape (out_features,).
        compression: How the input is kept.
        seed: One int64 number; drawn if it is None.

    Saves for backward: rows · (⌈k · bits / 8⌉ + 4) bytes, rows · k elements where bits is None, and
    one 8-byte seed.
    """
    features = input.shape[-1]
    proj_dim, bits = compression.proj_dim_for(features), compression.bits
    keeps_input = torch.is_grad_enabled() and weight.requires_grad and input.numel() > 0
    if not (keeps_input and can_be_sketched(input, weight)) or (
        proj_dim == features and bits is None
    ):
        return F.linear(input, weight, bias)
    # Autocast ends at an autograd function; what F.linear would cast is cast here.
    input = as_autocast(input)
    x = input.detach().reshape(-1, features)
    key = ops.draw_seed(x, seed)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        x_proj = _project(x, _signs(key, features, proj_dim, x.dtype), proj_dim)
        kept = (x_proj,) if bits is None else quantise(x_proj, bits, key)
    apply: Callable[..., Tensor] = _ProjectedLinearFunction.apply
    return apply(input, weight, bias, proj_dim, bits, key, *kept)


class _ProjectedLinearFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        proj_dim: int,
        bits: int | None,
        *kept: Tensor,
    ) -> Tensor:
        cast = as_autocast(weight)
        ctx.save_for_backward(kept_weight(weight, cast), *kept)
        ctx.proj_dim, ctx.bits = proj_dim, bits
        return F.linear(input, cast, None if bias is None else as_autocast(bias))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "exact-rp has no double backward, since its weight gradient is an estimate; "
                "use the method exact where create_graph=True is needed"
            )
        weight, key, *kept = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        y = grad_output.reshape(-1, grad_output.shape[-1])
        if ctx.needs_input_grad[0]:
            grad_input = grad_output @ weight.to(grad_output.dtype)
        if ctx.needs_input_grad[1]:
            signs = _signs(key, weight.shape[1], ctx.proj_dim, y.dtype)
            if ctx.bits is None:
                y_x_proj = y.T @ kept[0]
            else:
                y_x_proj = product(y, Quantised(*kept), ctx.proj_dim, ctx.bits)
            grad_weight = _project(y_x_proj, None if signs is None else signs.T, ctx.proj_dim)
        if ctx.needs_input_grad[2]:
            grad_bias = y.sum(0)
        return grad_input, grad_weight, grad_bias, *[None] * (3 + len(kept))


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
