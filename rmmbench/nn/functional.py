"""The linear map whose weight gradient is estimated from a sketch of its input.

Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets (2022): Memory-Efficient Backpropagation
through Large Linear Layers. arXiv 2201.13195.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor
from torch.fx import Proxy

from rmmbench.nn import ops
from rmmbench.nn.seeds import make_ready
from rmmbench.nn.sharing import Kept, SharedInput
from rmmbench.nn.size import SketchSettings
from rmmbench.nn.unusual import as_jagged, can_be_sketched, is_jagged
from rmmbench.sketches.sketch import seed_tensor


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
    **settings: Any,
) -> Tensor:
    """Apply a linear map whose weight gradient is estimated from a sketch of its input.

    Output, input gradient and bias gradient are exact. The weight gradient is unbiased:
    E[(SᵀY)ᵀ(SᵀX)] = YᵀX [Bershatsky et al. 2022, eq. 4, alg. 1]. Where there is nothing to save (no
    gradient of the weight is asked for, or proj_dim would reach the rows), or nothing to sketch
    (sparse, strided nested or complex tensors, transforms of `torch.func`, forward mode), this is
    `torch.nn.functional.linear` and nothing is drawn.

    Args:
        input: Shape (*, in_features); its leading dimensions together are the rows. Nested tensors
            of jagged layout are rows one after another.
        weight: Shape (out_features, in_features).
        bias: Shape (out_features,).
        sketch: A name of `rmmbench.sketches.names()`.
        rho: Compression rate proj_dim / rows, in (0, 1]; 1 takes the exact path.
        proj_dim: The projection dimension itself, instead of rho.
        min_proj_dim: Lower end of the interval that proj_dim is clamped to.
        max_proj_dim: Upper end of it.
        seed: Of S, an integer or an int64 tensor of one; drawn if it is None.
        settings: The sketch's own; its file tells.

    Returns:
        Shape (*, out_features), in the dtype `torch.nn.functional.linear` would give.

    Raises:
        TypeError: If a setting or the seed is not of its type.
        ValueError: If rho is outside (0, 1], not exactly one of rho and proj_dim is given, a
            size is below 1, the sketch is unknown, or has no S for so many rows.

    Saves for backward: proj_dim × in_features elements and one 8-byte seed; `norm-rows` instead of
    the seed 16 bytes a row that it keeps.

    Examples:
        >>> import rmmbench, torch
        >>> x, weight = torch.randn(64, 8), torch.randn(4, 8, requires_grad=True)
        >>> rmmbench.rmm_linear(x, weight, rho=0.5).sum().backward()
        >>> weight.grad.shape
        torch.Size([4, 8])
    """
    settings |= {"sketch": sketch, "rho": rho, "proj_dim": proj_dim}
    settings |= {"min_proj_dim": min_proj_dim, "max_proj_dim": max_proj_dim}
    chosen = SketchSettings.of(settings, beside=("seed",))
    return sketched_linear(input, weight, bias, chosen, seed)


def sketched_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    settings: SketchSettings,
    seed: int | Tensor | None = None,
    shared: SharedInput | None = None,
) -> Tensor:
    """Do what `rmm_linear` does, with settings that were checked before.

    With `shared`, what another layer kept of the same input is kept once.
    """
    if isinstance(input, Proxy):
        call = {**settings.given(), "seed": seed}
        return input.tracer.create_proxy("call_function", rmm_linear, (input, weight, bias), call)
    keeps_input = torch.is_grad_enabled() and weight.requires_grad and weight.numel() > 0
    if not keeps_input:
        return F.linear(input, weight, bias)
    values = input.values() if is_jagged(input) else input
    if not can_be_sketched(values, weight, bias):
        return F.linear(input, weight, bias)
    sketch = _Sketch(*settings.at(values.shape))
    if sketch.proj_dim >= math.prod(values.shape[:-1]):
        return F.linear(input, weight, bias)
    # Autocast ends at an autograd function; what F.linear would cast is cast here.
    cast = as_autocast(values)
    x_proj, key = _kept(input, cast, sketch, seed, shared)
    apply: Callable[..., Tensor] = _RMMLinearFunction.apply
    output = apply(cast, weight, bias, x_proj, key, sketch)
    return output if values is input else as_jagged(output, input)


class _Sketch(NamedTuple):
    """What the operators are told of a sketch, but for its key."""

    proj_dim: int
    text: str


def _kept(
    input: Tensor,
    cast: Tensor,
    sketch: _Sketch,
    seed: int | Tensor | None,
    shared: SharedInput | None,
) -> Kept:
    """Return what is kept of `input`, which autocast made `cast`: another layer's, or drawn."""
    # A compiler makes one of calls that are alike, and sees where the tensor was changed.
    if torch.compiler.is_compiling():
        shared = None
        make_ready(input.device)
    settings = (sketch, cast.dtype)
    found = None if shared is None else shared.find(input, settings)
    x = cast.detach().reshape(-1, cast.shape[-1])
    given = None if seed is None else seed_tensor(seed, torch.device("cpu"))
    kept = Kept(*ops.sketch(x, *sketch, given, *(found or (None, None))))
    if shared is not None and found is None:
        shared.keep(input, settings, kept)
    return kept


class _RMMLinearFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        x_proj: Tensor,
        key: Tensor,
        sketch: _Sketch,
    ) -> Tensor:
        cast = as_autocast(weight)
        ctx.save_for_backward(x_proj, key, kept_weight(weight, cast))
        ctx.sketch = sketch
        return F.linear(input, cast, None if bias is None else as_autocast(bias))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "rmm_linear has no double backward, since its weight gradient is an estimate; "
                "use rho=1 or torch.nn.Linear where create_graph=True is needed"
            )
        x_proj, key, weight = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        y = grad_output.reshape(-1, grad_output.shape[-1])
        if ctx.needs_input_grad[0]:
            grad_input = grad_output @ weight.to(grad_output.dtype)
        if ctx.needs_input_grad[1]:
            if ctx.needs_input_grad[2]:
                y_proj, grad_bias = ops.project_and_sum(y, *ctx.sketch, key)
            else:
                y_proj = ops.project(y, *ctx.sketch, key)
            grad_weight = y_proj.T @ x_proj
        return grad_input, grad_weight, grad_bias, None, None, None


def as_autocast(tensor: Tensor) -> Tensor:
    """Return the tensor as autocast would hand it to F.linear."""
    device_type = tensor.device.type
    has_autocast = torch.amp.is_autocast_available(device_type)  # "meta", for one, has none
    if not has_autocast or not torch.is_autocast_enabled(device_type):
        return tensor
    if not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(device_type))


def kept_weight(weight: Tensor, cast: Tensor) -> Tensor:
    """Return what of a weight, which autocast made `cast`, is kept until the backward pass.

    A parameter is alive anyway, and is cast again: a cast copy would be one more for each call,
    where autocast's own is made once. A weight that was computed dies, and its copy is smaller.
    """
    if cast is weight or torch.compiler.is_compiling():
        return weight
    owner = weight._base if weight._is_view() else weight
    return weight if owner is not None and owner.is_leaf else cast
