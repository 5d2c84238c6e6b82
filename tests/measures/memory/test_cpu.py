"""Memory on the CPU is what the allocator did, byte for byte."""

import numpy as np
import pytest
import torch
from torch import nn

from rmmbench.measures.memory.cpu import Allocation, _peak, disagreement, measure_cpu_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep

SIZE = 1000
VECTOR, NUMBER = SIZE * 4, 4


class Dot(nn.Module):
    """The product of a vector of parameters with the input."""

    def __init__(self):
        """Make the parameters."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(SIZE))

    def forward(self, x):
        """Return the loss."""
        return (self.weight * x).sum()


class Growing(Dot):
    """Takes more memory at every call."""

    calls = 0

    def forward(self, x):
        """Return the loss."""
        self.calls += 1
        torch.empty(self.calls * 10 * SIZE)
        return super().forward(x)


def preparing(kind=Dot, x=lambda: torch.ones(SIZE), optimizer="sgd"):
    """Return what builds a step of the model."""

    def prepare():
        model = kind()
        made = make_optimizer(optimizer, model.parameters(), foreach=False)
        return TrainingStep(model, {"x": x()}, made)

    return prepare


def test_a_known_step_has_its_bytes():
    """Weight and input rest; backward holds the loss, its gradient and the weight's besides."""
    memory, warnings = measure_cpu_memory(preparing())
    assert memory.resting_bytes == 2 * VECTOR
    assert memory.peak_allocated_bytes == 3 * VECTOR + 2 * NUMBER
    assert memory.cold_peak_allocated_bytes == memory.peak_allocated_bytes
    assert memory.saved_bytes == VECTOR
    assert warnings == []


def test_the_optimizers_state_appears_in_the_first_step():
    """Adam's two vectors and its count are at rest afterwards, and in every later peak."""
    memory, _ = measure_cpu_memory(preparing(optimizer="adam"))
    assert memory.resting_bytes == 4 * VECTOR + NUMBER
    # Beside them a gradient, the root of the mean square, and that divided; and a few numbers.
    assert 7 * VECTOR < memory.peak_allocated_bytes <= 7 * VECTOR + 10 * NUMBER
    assert memory.device == "cpu"
    assert memory.reserved_bytes is None


def test_memory_of_others_counts_where_it_is_saved():
    """An input in numpy's memory is no allocation of torch's, but held for the backward pass."""
    memory, _ = measure_cpu_memory(
        preparing(x=lambda: torch.from_numpy(np.ones(SIZE, dtype=np.float32)))
    )
    assert memory.saved_bytes == VECTOR
    assert memory.resting_bytes == VECTOR


def test_steps_that_differ_are_told():
    """The larger peak counts, with a warning that says by how much they differ."""
    memory, warnings = measure_cpu_memory(preparing(Growing))
    assert memory.peak_allocated_bytes == 2 * VECTOR + 30 * VECTOR
    assert warnings == [
        f"the peaks of two warmed-up steps differ by {10 * VECTOR} bytes: "
        "the step is not the same each time; the larger is reported"
    ]


def test_steps_that_agree_need_no_word():
    """Nothing is said of two equal peaks."""
    assert disagreement(5, 5) == []


@pytest.mark.parametrize(
    ("start", "end", "peak"),
    [(0, 9, 70), (2, 9, 70), (5, 9, 50), (5, 7, 30), (8, 9, 50), (3, 4, 70)],
)
def test_a_peak_begins_with_what_is_live(start, end, peak):
    """Bytes that live when a phase begins count in it; what was before or comes after does not."""
    events = [(1, 30), (2, 40), (3, -40), (6, -20), (8, 40), (9, -50)]
    assert _peak([Allocation(*event, address=0) for event in events], start, end) == peak
