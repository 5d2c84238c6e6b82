"""Steps of small models, whose memory can be told by hand."""

import pytest
import torch
from torch import nn

from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep


class _Around(nn.Module):
    """A linear layer with something after it."""

    def __init__(self, after):
        """Make the layer."""
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.after = after

    def forward(self, x):
        """Return a loss."""
        return self.after(self.linear(x)).sum()


@pytest.fixture
def around():
    """Return what builds a step with `after` in its forward pass."""

    def preparing(after):
        def prepare():
            torch.manual_seed(0)
            model = _Around(after)
            optimizer = make_optimizer("sgd", model.parameters(), foreach=False)
            return TrainingStep(model, {"x": torch.randn(8, 4)}, optimizer)

        return prepare

    return preparing
