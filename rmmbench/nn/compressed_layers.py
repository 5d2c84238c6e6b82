"""nn.Linear and Conv1D, converted to keep something smaller than their input."""

import functools
from typing import TYPE_CHECKING

import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn

from rmmbench.nn.compressed import Compression, compressed_linear
from rmmbench.nn.unusual import traced_call

if TYPE_CHECKING:
    from rmmbench.nn.splitting import Split


class Compressed:
    """What a converted layer has besides its parameters.

    Attributes:
        compression: Decides what it keeps of its input.
        exact: While true, the layer keeps its input, as the original one does.
        split: How it is split over ranks; None if it is not.
    """

    compression: Compression
    exact: bool
    split: "Split | None" = None
    training: bool

    def apply_linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return input · weightᵀ + bias; in eval mode nothing is kept or drawn."""
        if self.split is None:
            return self._apply_whole(input, input, weight, bias)
        return self.split(functools.partial(self._apply_whole, input), input, weight, bias)

    def _apply_whole(
        self, read: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        if self.exact or not self.training:
            return F.linear(input, weight, bias)
        return compressed_linear(input, weight, bias, self.compression, self, read)


class CompressedLinear(Compressed, nn.Linear):
    """`torch.nn.Linear`, converted."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the linear map of `input`, shape (*, in_features) to (*, out_features)."""
        traced = traced_call(self, input)
        if traced is not None:
            return traced
        return self.apply_linear(input, self.weight, self.bias)


class CompressedConv1D(Compressed, nn.Module):
    """transformers' `Conv1D`, converted: weight of shape (in_features, out_features)."""

    nf: int
    weight: nn.Parameter
    bias: nn.Parameter

    def forward(self, input: Tensor) -> Tensor:
        """Return the linear map of `input`, shape (*, in_features) to (*, out_features)."""
        traced = traced_call(self, input)
        if traced is not None:
            return traced
        return self.apply_linear(input, self.weight.T, self.bias)


def named_compressed(model: nn.Module) -> dict[str, Compressed]:
    """Return the layers of a model that keep something smaller, by qualified name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, Compressed)}
