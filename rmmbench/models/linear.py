"""One linear layer by itself, computed as inside a network: its input is an activation."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rmmbench.models.model import Built
from rmmbench.spec.case import Case


class OneLinear(nn.Module):
    """A linear layer that gets an output gradient and computes its input's, as in a network."""

    def __init__(self, in_features: int, out_features: int) -> None:
        """Make the layer."""
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, input: Tensor, output_gradient: Tensor) -> Tensor:
        """Return a loss whose gradient at the layer's output is `output_gradient`."""
        begin: Callable[..., Tensor] = _Begin.apply
        end: Callable[..., Tensor] = _End.apply
        return end(self.linear(begin(input)), output_gradient)


class _Begin(torch.autograd.Function):
    """A copy that keeps nothing, so that the layer alone decides what is kept of its input."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        return input.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _End(torch.autograd.Function):
    """A loss with a given gradient, whose own time is negligible."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, gradient: Tensor) -> Tensor:
        # It is part of the batch, and must not count as kept by the layer: it bypasses autograd.
        ctx.gradient = gradient
        return output.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient: Tensor = ctx.gradient
        return gradient, None


def linear(argument: str, case: Case) -> Built:
    """Build "linear:INxOUT", by default 768x3072; the rows are batch_size × seq_len.

    Raises:
        ValueError: If the argument is not two sizes.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", argument or "768x3072")
    if match is None or "0" in match.groups():
        raise ValueError(f"linear must be given as linear:INxOUT, got 'linear:{argument}'")
    in_features, out_features = int(match[1]), int(match[2])
    leading = (case.batch_size, case.seq_len) if case.seq_len else (case.batch_size,)

    def make_batch() -> dict[str, Tensor]:
        return {
            "input": torch.randn(*leading, in_features).requires_grad_(),
            "output_gradient": torch.randn(*leading, out_features),
        }

    return Built(OneLinear(in_features, out_features), make_batch)
