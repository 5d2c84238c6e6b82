"""A linear map that keeps something smaller than its input for the weight gradient.

Output, input gradient and bias gradient are exact. A `Compression` decides what is kept and how the
weight gradient is computed from it.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor

from rmmbench.nn.autocast import as_autocast, kept_weight
from rmmbench.nn.seeds import make_ready
from rmmbench.nn.unusual import as_jagged, can_be_sketched, is_jagged


class Estimator(Protocol):
    """Computes the weight gradient from what was kept; torch.compile treats it as a constant."""

    def gradients(
        self, y: Tensor, kept: tuple[Tensor, ...], weight: Tensor, has_bias: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of the weight and, if there is one, of the bias.

        Args:
            y: The output's gradient, shape (rows, out_features).
            kept: What `Compression.keep` returned.
            weight: Shape (out_features, in_features).
            has_bias: Whether to return the bias gradient, the sum of y's rows.
        """


class Compression(Protocol):
    """Decides what a linear map keeps in place of its input."""

    def at(self, shape: torch.Size) -> Estimator | None:
        """Return the estimator for an input of shape (*, in_features); None to keep the input."""

    def keep(self, input: Tensor, x: Tensor, estimator: Any, layer: Any) -> tuple[Tensor, ...]:
        """Return what is kept.

        Args:
            input: The layer's input.
            x: Its rows, cast by autocast and detached, shape (rows, in_features).
            estimator: What `at` returned.
            layer: The layer that was called; None if it was a function.
        """


def compressed_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    compression: Compression,
    layer: Any = None,
    read: Tensor | None = None,
) -> Tensor:
    """Apply a linear map whose weight gradient comes from what `compression` keeps of the input.

    This is `torch.nn.functional.linear`, and nothing is drawn, if the weight needs no gradient, if
    the compression is exact at this shape, or if the input cannot be compressed.

    Args:
        input: Shape (*, in_features); its leading dimensions together are the rows. The rows of
            a nested tensor of jagged layout follow one another.
        weight: Shape (out_features, in_features).
        bias: Shape (out_features,).
        compression: Decides what is kept.
        layer: Passed on to `compression`.
        read: The tensor that the layer was called with, by which layers share; None for `input`.
    """
    keeps_input = torch.is_grad_enabled() and weight.requires_grad and weight.numel() > 0
    if not keeps_input:
        return F.linear(input, weight, bias)
    values = input.values() if is_jagged(input) else input
    if not can_be_sketched(values, weight, bias):
        return F.linear(input, weight, bias)
    estimator = compression.at(values.shape)
    if estimator is None:
        return F.linear(input, weight, bias)
    if torch.compiler.is_compiling():
        make_ready(input.device)
    # Autocast does not reach into autograd functions, so cast here what F.linear would cast.
    cast = as_autocast(values)
    x = cast.detach().reshape(-1, cast.shape[-1])
    kept = compression.keep(input if read is None else read, x, estimator, layer)
    apply: Callable[..., Tensor] = _CompressedLinearFunction.apply
    output = apply(cast, weight, bias, estimator, *kept)
    return output if values is input else as_jagged(output, input)


class _CompressedLinearFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        estimator: Estimator,
        *kept: Tensor,
    ) -> Tensor:
        cast = as_autocast(weight)
        ctx.save_for_backward(kept_weight(weight, cast), *kept)
        ctx.estimator = estimator
        return F.linear(input, cast, None if bias is None else as_autocast(bias))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "a layer that keeps less than its input has no double backward, since its weight "
                "gradient is an estimate; use torch.nn.Linear where create_graph=True is needed"
            )
        weight, *kept = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_input = grad_output @ weight.to(grad_output.dtype)
        if ctx.needs_input_grad[1]:
            y = grad_output.reshape(-1, grad_output.shape[-1])
            has_bias = ctx.needs_input_grad[2]
            grad_weight, grad_bias = ctx.estimator.gradients(y, tuple(kept), weight, has_bias)
        return grad_input, grad_weight, grad_bias, None, *[None] * len(kept)
