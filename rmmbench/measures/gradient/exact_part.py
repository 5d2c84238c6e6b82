"""What a part of the gradient that is exact leaves to a sketch: the rest R of a layer's input X."""

import torch
from torch import Tensor

from rmmbench.nn.autocast import as_autocast
from rmmbench.nn.layer import Sketched
from rmmbench.nn.principal import orthonormal
from rmmbench.sketches.sketch import Sketch

# Of `Moments`.
_SAMPLED = 4


def directions_of(layer: Sketched, x: Tensor, basis: Tensor) -> Tensor:
    """Return the directions V whose part was exact in a call that is not over yet.

    They are those of another layer that shares what it kept, or else of the layer's own basis.

    Args:
        layer: With principal features.
        x: Its input.
        basis: The layer's, before the call.
    """
    dtype = as_autocast(x.detach()[:0]).dtype
    estimator = layer.compression.at(x.shape)
    if layer.shared is not None and estimator is not None:
        found = layer.shared.find(x, (estimator, dtype))
        if found is not None:
            return found[1]
    return orthonormal(basis).to(dtype if dtype.itemsize == 2 else torch.bfloat16)


def rest_of(x: Tensor, directions: Tensor) -> Tensor:
    """Return R = X − C Vᵀ in float32 or better, with C = X V rounded as a layer keeps it."""
    x = _precise(x)
    across = directions.to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        coefficients = (x @ across).to(directions.dtype).to(x.dtype)
        return x - coefficients @ across.T


def sums_of(sketch: Sketch, x: Tensor, y: Tensor, rest: Tensor | None = None) -> Tensor:
    """Return the sums that tell a sketch's noise; those of R where there is one.

    Args:
        sketch: Says which sums it needs.
        x: X, shape (*, N).
        y: The gradient of the layer's output, shape (*, M).
        rest: R, in X's shape; None if all of X is sketched.
    """
    if rest is None:
        return sketch.sums(x, y)
    sums = sketch.sums(rest, y)
    sums[_SAMPLED] = sampled(x, rest, y)
    return sums


def sampled(x: Tensor, rest: Tensor, y: Tensor) -> Tensor:
    """Return Σ‖x‖ · Σ‖r‖²‖y‖² / ‖x‖: rows are drawn by their norms in X, whatever R is."""
    x_norms, r_norms, y_norms = (
        torch.linalg.vector_norm(_precise(each), dim=-1).double().view(-1) for each in (x, rest, y)
    )
    shares = (r_norms * y_norms).square() / x_norms.clamp_min(torch.finfo(torch.float32).tiny)
    total: Tensor = x_norms.sum() * shares.sum()
    return total


def _precise(matrix: Tensor) -> Tensor:
    return matrix.to(torch.promote_types(matrix.dtype, torch.float32))
