"""The linear map whose weight gradient is estimated from a sketch of its input.

Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets (2022): Memory-Efficient Backpropagation
through Large Linear Layers. arXiv 2201.13195.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor

from rmmbench.nn import ops
from rmmbench.nn.size import SketchSettings


def rmm_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    sketch: str = "gaussian",
    rho: float | None = None,
    proj_dim: int | None = None,
    min_proj_dim: int = 1,
    max_proj_dim: int | None = None,
    seed: int | Tensor | None = None,
) -> Tensor:
    """Apply a linear map whose weight gradient is estimated from a sketch of its input.

    Output, input gradient and bias gradient are exact. The weight gradient is unbiased:
    E[(SᵀY)ᵀ(SᵀX)] = YᵀX [Bershatsky et al. 2022, eq. 4, alg. 1]. Where there is nothing to save (no
    gradient of the weight is asked for, or proj_dim would reach the rows) this is
    `torch.nn.functional.linear` and nothing is drawn.

    Args:
        input: Shape (*, in_features); its leading dimensions together are the rows.
        weight: Shape (out_features, in_features).
        bias: Shape (out_features,).
        sketch: A name of `rmmbench.sketches.names()`.
        rho: Compression rate proj_dim / rows, in (0, 1]; 1 takes the exact path.
        proj_dim: The projection dimension itself, instead of rho.
        min_proj_dim: Lower end of the interval that proj_dim is clamped to.
        max_proj_dim: Upper end of it.
        seed: Of S, an integer or a tensor of one on the CPU; drawn if it is None.

    Returns:
        Shape (*, out_features), in the dtype `torch.nn.functional.linear` would give.

    Raises:
        ValueError: If rho is outside (0, 1], not exactly one of rho and proj_dim is given, a
            size is below 1, or the sketch is unknown.

    Saves for backward: proj_dim × in_features elements and one 8-byte seed.
    """
    settings = SketchSettings(sketch, rho, proj_dim, min_proj_dim, max_proj_dim).checked()
    return sketched_linear(input, weight, bias, settings, seed)


def sketched_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    settings: SketchSettings,
    seed: int | Tensor | None = None,
) -> Tensor:
    """Do what `rmm_linear` does, with settings that were checked before."""
    rows = math.prod(input.shape[:-1])
    keeps_input = torch.is_grad_enabled() and weight.requires_grad
    if not keeps_input or settings.proj_dim_for(rows) >= rows:
        return F.linear(input, weight, bias)
    if isinstance(seed, int):
        seed = torch.tensor(seed)
    # Autocast ends at an autograd function; what F.linear would cast is cast here.
    input, weight = _as_autocast(input), _as_autocast(weight)
    bias = None if bias is None else _as_autocast(bias)
    apply: Callable[..., Tensor] = _RMMLinearFunction.apply
    return apply(input, weight, bias, settings, seed)


class _RMMLinearFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        settings: SketchSettings,
        seed: Tensor | None,
    ) -> Tensor:
        x = input.reshape(-1, input.shape[-1])
        proj_dim = settings.proj_dim_for(x.shape[0])
        x_proj, seed = ops.sketch(x, proj_dim, settings.sketch, seed)
        ctx.save_for_backward(x_proj, seed, weight)
        ctx.sketch = settings.sketch
        return F.linear(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "rmm_linear has no double backward, since its weight gradient is an estimate; "
                "use rho=1 or torch.nn.Linear where create_graph=True is needed"
            )
        x_proj, seed, weight = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        y = grad_output.reshape(-1, grad_output.shape[-1])
        if ctx.needs_input_grad[0]:
            grad_input = grad_output @ weight
        if ctx.needs_input_grad[1]:
            y_proj = ops.project(y, x_proj.shape[0], ctx.sketch, seed)
            grad_weight = y_proj.T @ x_proj
        if ctx.needs_input_grad[2]:
            grad_bias = y.sum(0)
        return grad_input, grad_weight, grad_bias, None, None


def _as_autocast(tensor: Tensor) -> Tensor:
    """Return the tensor as autocast would hand it to F.linear."""
    device_type = tensor.device.type
    if not torch.is_autocast_enabled(device_type):
        return tensor
    if not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(device_type))
