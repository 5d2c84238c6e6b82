"""A multilayer perceptron for classification: linear layers with GELU between them."""

import re
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn

from rmmbench.models.model import Built, Output
from rmmbench.spec.case import Case


class MLP(nn.Module):
    """Linear layers of the given widths with GELU between them, trained on cross-entropy."""

    def __init__(self, widths: list[int]) -> None:
        """Make a layer for each pair of adjacent widths."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.activation = nn.GELU()

    def forward(self, input: Tensor, labels: Tensor) -> Output:
        """Return loss and logits of `input`, shape (*, widths[0]), for classes of shape (*)."""
        for layer in self.layers[:-1]:
            input = self.activation(layer(input))
        logits = self.layers[-1](input)
        return Output(F.cross_entropy(logits.flatten(0, -2), labels.flatten()), logits)


def mlp(argument: str, case: Case) -> Built:
    """Build "mlp:IN-HIDDEN-…-OUT", by default 256-1024-1024-10.

    Raises:
        ValueError: If the argument is not at least two widths.
    """
    argument = argument or "256-1024-1024-10"
    widths = [int(width) for width in re.findall(r"\d+", argument)]
    if not re.fullmatch(r"\d+(-\d+)+", argument) or 0 in widths:
        raise ValueError(f"mlp must be given as mlp:IN-HIDDEN-OUT, got 'mlp:{argument}'")
    leading = (case.batch_size, case.seq_len) if case.seq_len else (case.batch_size,)

    def make_batch() -> dict[str, Tensor]:
        return {
            "input": torch.randn(*leading, widths[0]),
            "labels": torch.randint(0, widths[-1], leading),
        }

    return Built(MLP(widths), make_batch)
