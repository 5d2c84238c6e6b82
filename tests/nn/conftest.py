"""Many small products, on one thread; a fresh start; and a look at what is projected."""

import pytest
import torch
import torch._dynamo

import rmmbench
from rmmbench.sketches import Sketch


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


@pytest.fixture
def fresh():
    """Begin with the same seeds and no compiled code."""
    torch.manual_seed(0)
    rmmbench.manual_seed(0)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def projections(monkeypatch):
    """Return the shape of each projection so far, of inputs and of gradients; it can be cleared."""
    found = []
    project = Sketch.project

    def noted(self, x, *settings):
        x_proj = project(self, x, *settings)
        found.append(tuple(x_proj.shape))
        return x_proj

    monkeypatch.setattr(Sketch, "project", noted)
    return found
