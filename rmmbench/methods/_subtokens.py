"""A linear map that keeps, of each few features of its input, one coefficient.

Write X for the input, shape (rows, N), s for the size of a sub-token, and cut each row into
g = ⌈N / s⌉ of them; what the last one lacks is zeros. With a unit vector v of length s and
V = I_g ⊗ v, without the rows of those zeros, of shape (N, g), what is kept is Z = X V, and the
weight gradient is (Yᵀ Z) Vᵀ. That is YᵀX V Vᵀ.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn

from rmmbench.nn.functional import as_autocast, kept_weight
from rmmbench.nn.unusual import can_be_sketched

# Elements of the weight gradient that are there in float32 at a time.
_PIECE_ELEMENTS = 2**20


class SubTokens:
    """What a converted layer has beside its parameters.

    Attributes:
        direction: v, float32, a buffer that is not in the state dict; zeros until there was a first
            batch.
        has_direction: Whether there was one.
        exact: While true the layer is the exact one.
    """

    direction: Tensor
    has_direction: bool
    exact: bool
    training: bool

    def apply_linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return input · weightᵀ + bias; the first batch that is trained on decides about v."""
        keeps_input = torch.is_grad_enabled() and weight.requires_grad and input.numel() > 0
        if self.exact or not self.training or not keeps_input or not can_be_sketched(input, weight):
            return F.linear(input, weight, bias)
        if not self.has_direction:
            mean = mean_direction(input.detach(), len(self.direction))
            self.direction.copy_(mean)
            self.has_direction = True
        return sub_token_linear(input, weight, bias, self.direction)


class SubTokenLinear(SubTokens, nn.Linear):
    """`torch.nn.Linear`, converted."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the linear map of `input`, shape (*, in_features) to (*, out_features)."""
        return self.apply_linear(input, self.weight, self.bias)


class SubTokenConv1D(SubTokens, nn.Module):
    """transformers' `Conv1D`, converted: weight of shape (in_features, out_features)."""

    weight: nn.Parameter
    bias: nn.Parameter

    def forward(self, input: Tensor) -> Tensor:
        """Return the linear map of `input`, shape (*, in_features) to (*, out_features)."""
        return self.apply_linear(input, self.weight.T, self.bias)


def mean_direction(input: Tensor, size: int) -> Tensor:
    """Return the mean sub-token of an input at length 1, float32.

    Where the mean is zero, all entries are equal instead.

    Args:
        input: Shape (*, features).
        size: Of a sub-token.
    """
    features = input.shape[-1]
    with torch.no_grad(), torch.autocast(input.device.type, enabled=False):
        column_means = input.reshape(-1, features).mean(0, dtype=torch.float32)
        mean = F.pad(column_means, (0, -features % size)).view(-1, size).sum(0)
        norm = torch.linalg.vector_norm(mean)
        return torch.where(norm > 0, mean / norm, size**-0.5)


def sub_token_linear(
    input: Tensor, weight: Tensor, bias: Tensor | None, direction: Tensor
) -> Tensor:
    """Apply a linear map whose weight gradient is that of sub-tokens projected on one direction.

    Output, input gradient and bias gradient are exact; the weight gradient is biased, see above.
    Nothing is random.

    Args:
        input: Shape (*, in_features); its leading dimensions together are the rows.
        weight: Shape (out_features, in_features); a gradient of it is asked for.
        bias: Shape (out_features,).
        direction: v, whose length is the size of a sub-token.

    Saves for backward: rows · ⌈in_features / size⌉ elements.
    """
    # Autocast ends at an autograd function; what F.linear would cast is cast here.
    input = as_autocast(input)
    with torch.no_grad(), torch.autocast(input.device.type, enabled=False):
        coefficients = _coefficients(input.detach().reshape(-1, input.shape[-1]), direction)
    apply: Callable[..., Tensor] = _SubTokenLinearFunction.apply
    return apply(input, weight, bias, coefficients, direction)


class _SubTokenLinearFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        coefficients: Tensor,
        direction: Tensor,
    ) -> Tensor:
        cast = as_autocast(weight)
        ctx.save_for_backward(kept_weight(weight, cast), coefficients, direction)
        return F.linear(input, cast, None if bias is None else as_autocast(bias))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "velora has no double backward, since its weight gradient is an estimate; "
                "use the method exact where create_graph=True is needed"
            )
        weight, coefficients, direction = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        y = grad_output.reshape(-1, grad_output.shape[-1])
        if ctx.needs_input_grad[0]:
            grad_input = grad_output @ weight.to(grad_output.dtype)
        if ctx.needs_input_grad[1]:
            grad_weight = _spread(y.T @ coefficients, direction, weight.shape[1])
        if ctx.needs_input_grad[2]:
            grad_bias = y.sum(0)
        return grad_input, grad_weight, grad_bias, None, None


def _coefficients(x: Tensor, direction: Tensor) -> Tensor:
    """Return Z = X V, shape (rows, groups)."""
    direction, size = direction.to(x.dtype), len(direction)
    whole = x.shape[1] - x.shape[1] % size
    parts = [x[:, :whole].reshape(len(x), -1, size) @ direction] if whole else []
    if whole < x.shape[1]:
        # Apart, as to fill up the rows would be to copy them.
        parts.append((x[:, whole:] @ direction[: x.shape[1] - whole]).unsqueeze(1))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _spread(y_z: Tensor, direction: Tensor, features: int) -> Tensor:
    """Return (YᵀZ) Vᵀ, shape (out_features, in_features)."""
    # Z is of a v rounded to Y's dtype, whose length is not quite 1; this makes up for both.
    precise = direction.to(y_z.dtype).to(torch.promote_types(y_z.dtype, torch.float32))
    precise = precise / precise.square().sum()
    spread = y_z.new_empty(*y_z.shape, len(direction))
    height = max(1, _PIECE_ELEMENTS // max(1, spread[:1].numel()))
    for some, out in zip(torch.split(y_z, height), torch.split(spread, height), strict=True):
        out.copy_(some.unsqueeze(2) * precise)
    return spread.flatten(1)[:, :features]
