"""Memory on a GPU: what counts towards which figure."""

import pytest
import torch
from torch import nn

from rmmbench.measures.memory.cuda import measure_cuda_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep


class FakeAllocator:
    """Stands for the caching allocator's counts, in bytes."""

    def __init__(self, monkeypatch):
        """Answer in its place."""
        self.live = self.peak = self.reserved = 0
        answers = {
            "synchronize": lambda: None,
            "memory_allocated": lambda: self.live,
            "reset_peak_memory_stats": self._reset,
            "memory_stats": self._statistics,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer)

    def take(self, size, kept):
        """Have `size` bytes for a moment, of which some are kept."""
        self.peak = max(self.peak, self.live + size)
        self.live += kept
        self.reserved = max(self.reserved, 1_000 + self.peak)

    def _reset(self):
        self.peak = self.live

    def _statistics(self):
        return {
            "requested_bytes.all.peak": self.peak - 7,
            "allocated_bytes.all.peak": self.peak,
            "reserved_bytes.all.peak": self.reserved,
            "num_alloc_retries": 3,
        }


class Step(TrainingStep):
    """A training step that takes memory of a fake allocator."""

    allocator: FakeAllocator
    first = True

    def __call__(self):
        """Take 50 bytes for a moment; the first time 20 more, which stay."""
        self.allocator.take(50 + 20 * self.first, 20 * self.first)
        self.first = False


def test_what_building_the_model_takes_is_in_no_peak(monkeypatch):
    """A model that is drawn in a large buffer has the peaks of its steps, the first one's too."""
    allocator = FakeAllocator(monkeypatch)

    def prepare():
        allocator.take(500, kept=100)
        model = nn.MSELoss()
        model.register_forward_hook(lambda *_: allocator.take(512, kept=512))  # the loss
        batch = {"input": torch.zeros(2, requires_grad=True), "target": torch.zeros(2)}
        parameters = [nn.Parameter(torch.zeros(1))]
        step = Step(model, batch, make_optimizer("sgd", parameters, foreach=False))
        step.allocator = allocator
        return step

    memory, warnings = measure_cuda_memory(prepare)
    assert memory.cold_peak_allocated_bytes == 100 + 70
    assert memory.peak_allocated_bytes == 120 + 50
    assert memory.resting_bytes == 120
    assert memory.peak_live_bytes == 120 + 50 - 7
    assert memory.reserved_bytes == memory.needed_bytes == 1_000 + 500
    assert memory.alloc_retries == 3
    assert warnings == []


@pytest.mark.cuda
def test_a_real_cold_peak_is_below_what_building_took():
    """A model that is made beside a far larger tensor has a cold peak of its first step."""

    def prepare():
        torch.zeros(2**28, device="cuda")
        model = nn.Linear(64, 64, device="cuda")

        class Loss(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = model

            def forward(self, x):
                return self.layer(x).square().mean()

        loss = Loss()
        batch = {"x": torch.ones(8, 64, device="cuda")}
        return TrainingStep(loss, batch, make_optimizer("sgd", loss.parameters(), foreach=True))

    memory, _ = measure_cuda_memory(prepare)
    assert memory.cold_peak_allocated_bytes < 2**28
    assert memory.peak_live_bytes < memory.peak_allocated_bytes < memory.reserved_bytes
