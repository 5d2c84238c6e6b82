"""RMMConv1D: GPT-2's linear layer, whose weight is stored transposed, sketched like the others."""

from torch import Tensor, nn

from rmmbench.nn.layer import Sketched
from rmmbench.nn.unusual import traced_call


class RMMConv1D(Sketched, nn.Module):
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

    def extra_repr(self) -> str:
        """Return the layer's shape and the sketch."""
        in_features, out_features = self.weight.shape
        return f"nf={out_features}, nx={in_features}, {self.describe_settings()}"
