"""One thread, and a look at what is projected.

The many small products here gain nothing from two threads, and lose where cores are busy.
"""

import pytest
import torch

from rmmbench.sketches import Sketch


@pytest.fixture(autouse=True)
def one_thread():
    """Compute on one thread for the time of a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
