"""When Python collects garbage, and whose, is no part of what is measured."""

import gc
import weakref

import pytest
import torch
from torch import nn

from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.following import follow_memory
from rmmbench.measures.memory.garbage import no_garbage_goes
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.spec.measuring import TimelineSettings

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 1000
VECTOR = SIZE * 4
TWO_STEPS = TimelineSettings(epoch_steps=2, max_points=10_000)

MEASURES = {
    "cpu": measure_cpu_memory,
    "predict": predict_memory,
    "timeline": lambda prepare: follow_memory(prepare, TWO_STEPS, "cpu"),
}

each_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


@pytest.fixture(autouse=True)
def _collector():
    """Leave Python's collector as it was."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.enable()


def make_garbage(floats):
    """Leave something behind that holds a tensor and itself."""
    garbage = [torch.ones(floats)]
    garbage.append(garbage)


class Dot(nn.Module):
    """The product of a vector of parameters with the input."""

    def __init__(self):
        """Make the parameters."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(SIZE))

    def forward(self, x):
        """Return the loss."""
        return (self.weight * x).sum()


class Collecting(Dot):
    """Collects garbage, as Python may at any time."""

    def forward(self, x):
        """Return the loss."""
        gc.collect()
        return super().forward(x)


class Littering(Dot):
    """Leaves garbage behind at every call, before and after what it is for."""

    def forward(self, x):
        """Return the loss."""
        make_garbage(SIZE)
        loss = super().forward(x)
        make_garbage(2 * SIZE)
        return loss


def preparing(kind):
    """Return what builds a step of the model."""

    def prepare():
        model = kind()
        optimizer = make_optimizer("adam", model.parameters(), foreach=False)
        return TrainingStep(model, {"x": torch.ones(SIZE)}, optimizer)

    return prepare


@each_measure
def test_garbage_from_before_does_not_count(measure):
    """What others left behind stays as long as anything is counted."""
    expected = measure(preparing(Collecting))
    gc.disable()
    make_garbage(10 * SIZE)
    assert measure(preparing(Collecting)) == expected


@each_measure
@pytest.mark.parametrize("kind", [Dot, Littering])
def test_it_does_not_matter_when_garbage_is_collected(measure, kind):
    """A collector that is never called, and one that always is, make no difference."""
    gc.disable()
    never = measure(preparing(kind))
    gc.enable()
    gc.set_threshold(1)
    assert measure(preparing(kind)) == never


def test_garbage_counts_in_the_step_that_makes_it():
    """It is there at the peak, as it is in training, and gone before the next step."""
    tidy, warnings = measure_cpu_memory(preparing(Dot))
    littering, _ = measure_cpu_memory(preparing(Littering))
    assert not warnings
    assert littering.peak_allocated_bytes == tidy.peak_allocated_bytes + 3 * VECTOR
    assert littering.resting_bytes == tidy.resting_bytes


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_collector_is_left_as_it_was(is_enabled):
    """Within, it is off; after, it is what it was, whatever happened."""
    within = []

    @no_garbage_goes()
    def fail():
        within.append(gc.isenabled())
        raise KeyError

    if not is_enabled:
        gc.disable()
    with pytest.raises(KeyError):
        fail()
    assert within == [False]
    assert gc.isenabled() == is_enabled


def test_nothing_that_was_measured_stays():
    """What was made within is gone afterwards, though it held itself."""
    left = []

    @no_garbage_goes()
    def measure():
        garbage = Dot()
        garbage.itself = [garbage]
        left.append(weakref.ref(garbage))
        gc.collect()

    gc.disable()
    measure()
    assert left[0]() is None
