"""A sketch by itself, timed against the product of the layer that it stands beside.

In a converted model a training step of this model is one projection SᵀX; in the exact one it is the
product X Wᵀ + b. So its relative_throughput is no layer's: it says how many times cheaper a sketch
of the input is than the product, and not what a training step gains or loses by it.
"""

import re

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn

from rmmbench.models.model import Built
from rmmbench.nn import ops
from rmmbench.nn.layer import Sketched
from rmmbench.spec.case import Case

SYNTHETIC = "inputs are random, and a step is one projection, or one product without RMM"


class Projection(nn.Module):
    """Computes of one layer the product where it is exact, and the projection where it is not.

    Neither has a backward pass. So that there is a loss to train on, one number is a parameter.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        """Make the layer."""
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.loss = nn.Parameter(torch.zeros(()))

    def forward(self, input: Tensor) -> Tensor:
        """Compute and let go of what is timed, and return a loss that does not depend on it."""
        with torch.no_grad():
            self.timed(input)
        return self.loss.clone()

    def timed(self, input: Tensor) -> Tensor:
        """Return SᵀX if the layer keeps a sketch of `input`, else X Wᵀ + b."""
        layer, rows = self.linear, input[..., 0].numel()
        if isinstance(layer, Sketched) and not layer.exact:
            proj_dim, sketch = layer.settings.at(input.shape)
            if proj_dim < rows:
                x = input.reshape(rows, -1)
                x_proj: Tensor = ops.sketch(x, proj_dim, sketch, None, None, None)[0]
                return x_proj
        return F.linear(input, layer.weight, layer.bias)


def projection(argument: str, case: Case) -> Built:
    """Build "projection:INxOUT", 768x3072 where no size is given; batch_size × seq_len are rows.

    Raises:
        ValueError: If the argument is not two sizes.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", argument or "768x3072")
    if match is None or "0" in match.groups():
        given = f"got 'projection:{argument}'"
        raise ValueError(f"projection must be given as projection:INxOUT, {given}")
    in_features, out_features = int(match[1]), int(match[2])
    leading = (case.batch_size, case.seq_len) if case.seq_len else (case.batch_size,)

    def make_batch() -> dict[str, Tensor]:
        return {"input": torch.randn(*leading, in_features)}

    return Built(Projection(in_features, out_features), make_batch, SYNTHETIC)
