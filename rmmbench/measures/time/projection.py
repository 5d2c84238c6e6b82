"""Times a sketch by itself, in turn with the product of its layer.

The ratio of the two says how many times cheaper the sketch SᵀX of a layer's input is than the
layer's product X Wᵀ + b. It does not say what a whole training step gains or loses.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn

from rmmbench.measures.step import TrainingStep, autocast
from rmmbench.nn import ops
from rmmbench.nn.layer import Sketched

SYNTHETIC = "inputs are random, and a step is one projection, or one product of the layer"


@dataclass
class Projection:
    """A linear layer and its input; a call computes what is timed, without gradients.

    Attributes:
        input: Shape (*, in_features); its leading dimensions together are the rows.
        dtype: Of autocast; None computes in the parameters' own dtype.
    """

    layer: nn.Linear
    input: Tensor
    dtype: torch.dtype | None = None

    @classmethod
    def of(cls, step: TrainingStep) -> "Projection":
        """Return the projection of a model that is one linear layer."""
        (layer,) = (each for each in step.model.modules() if isinstance(each, nn.Linear))
        return cls(layer, step.batch["input"], step.autocast)

    def __call__(self) -> Tensor:
        """Return SᵀX if the layer keeps a sketch of its input, else X Wᵀ + b."""
        layer, rows = self.layer, self.input[..., 0].numel()
        with torch.no_grad(), autocast(layer, self.dtype):
            if isinstance(layer, Sketched) and not layer.exact:
                proj_dim, sketch = layer.settings.at(self.input.shape)
                if proj_dim < rows:
                    x = self.input.reshape(rows, -1)
                    x_proj: Tensor = ops.sketch(x, proj_dim, sketch, None, None, None)[0]
                    return x_proj
            return F.linear(self.input, layer.weight, layer.bias)
