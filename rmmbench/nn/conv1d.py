"""RMMConv1D: GPT-2's linear layer, which stores its weight transposed, with a sketch."""

from rmmbench.nn.compressed_layers import CompressedConv1D
from rmmbench.nn.layer import Sketched


class RMMConv1D(Sketched, CompressedConv1D):
    """transformers' `Conv1D`, converted: weight of shape (in_features, out_features)."""

    def extra_repr(self) -> str:
        """Return the layer's shape and the sketch."""
        in_features, out_features = self.weight.shape
        return f"nf={out_features}, nx={in_features}, {self.describe_settings()}"
