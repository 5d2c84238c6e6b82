"""What is counted of a step's memory: each storage once, from its birth to its end."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import flop_registry

from rmmbench.fakes.device import fake_gpu
from rmmbench.measures.memory.counting import CountedWork
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.nn.analysis.live import LiveBytes
from rmmbench.running.isolation import process
from rmmbench.spec.gpus import GPUS

pytestmark = pytest.mark.usefixtures("one_thread")


OUTSIDE = torch.ones(8, 4)


class Computing(nn.Module):
    """A computation that has its sum for a loss."""

    def __init__(self, compute):
        """Hold the computation, which may have parameters."""
        super().__init__()
        self.compute = compute

    def forward(self, x):
        """Return the sum, of which autograd saves nothing."""
        return self.compute(x).float().sum()


def saved_by(make, *, autocast=None):
    """Return the saved bytes of what `make` makes, with an input that is trained, shape (8, 4)."""

    def prepare():
        x = torch.randn(8, 4, requires_grad=True)
        optimizer = make_optimizer("sgd", [x], foreach=True)
        return TrainingStep(Computing(make()), {"x": x}, optimizer, autocast)

    return predict_memory(prepare).saved_bytes


def test_a_storage_counts_once():
    """A tensor that two operators save, or one of them twice, is held once."""
    assert saved_by(lambda: lambda x: x.sin() + x.cos()) == 8 * 4 * 4
    assert saved_by(lambda: lambda x: x * x) == 8 * 4 * 4


def test_a_view_counts_its_whole_storage():
    """One column that is saved keeps the whole matrix."""
    assert saved_by(lambda: lambda x: x[:, :1].sin()) == 8 * 4 * 4
    assert saved_by(lambda: lambda x: x[:, :1].sin() + x.T[:, :1].cos().sum()) == 8 * 4 * 4


def test_parameters_and_buffers_do_not_count():
    """What is there between steps anyway is not kept for the backward pass; a cast of it is."""
    assert saved_by(lambda: nn.Linear(4, 3)) == 8 * 4 * 4
    assert saved_by(lambda: nn.BatchNorm1d(4).eval()) == 8 * 4 * 4
    assert saved_by(lambda: nn.Linear(4, 3), autocast=torch.bfloat16) == (8 * 4 + 4 * 3) * 2


def test_what_is_dropped_is_no_longer_live():
    """Storages count from birth to death, views of them not at all."""
    with FakeTensorMode(), LiveBytes() as count:
        x = torch.zeros(100)
        y = x[:50]
        assert count.live == 400
        del x
        assert count.live == 400
        z = torch.zeros(50)
        assert count.live == count.peak == 600
        del y, z
        assert (count.live, count.peak) == (0, 600)


def test_tensors_from_outside_are_read(around):
    """A table that a user's module made as it was imported is read like any other tensor."""
    predicted = predict_memory(around(lambda y: y * OUTSIDE))
    measured, _ = measure_cpu_memory(around(lambda y: y * OUTSIDE))
    assert predicted.saved_bytes == measured.saved_bytes


def test_a_loss_that_was_there_before_is_not_saved_less():
    """A model that returns a parameter of its own keeps nothing, and no less than that."""

    class Itself(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self):
            return self.weight

    def prepare():
        model = Itself()
        return TrainingStep(model, {}, make_optimizer("sgd", model.parameters(), foreach=False))

    assert predict_memory(prepare).saved_bytes == 0


def test_a_storage_counts_with_the_size_it_has():
    """A storage that is resized, as FSDP2 gives parameters back, counts as large as it is now."""
    with LiveBytes() as count:
        tensor = torch.empty(64, dtype=torch.uint8)
        sizes = [count.live]
        for size in (0, 128, 96):
            tensor.untyped_storage().resize_(size)
            sizes.append(count.live)
        del tensor
    assert sizes == [64, 0, 128, 96]
    assert (count.live, count.peak) == (0, 128)


def of_equal_heads(formula):
    """Return a formula of attention for as many heads of keys as of queries, as torch 2.11's."""

    def strict(*args, **given):
        heads = {(each.shape if isinstance(each, torch.Tensor) else each)[1] for each in args[:3]}
        assert len(heads) == 1
        return formula(*args, **given)

    return strict


def work_of_attention(key_heads):
    """Return the operations of attention, forward and backward, of four heads of queries."""
    for packet, formula in list(flop_registry.items()):
        if "_scaled_dot_product" in packet.__name__:
            flop_registry[packet] = of_equal_heads(formula)
    with fake_gpu(GPUS["h100"]) as fake, CountedWork(gpu=fake) as count:
        given = {"dtype": torch.bfloat16, "device": fake.device_type, "requires_grad": True}
        query, key = (torch.empty(2, heads, 128, 64, **given) for heads in (4, key_heads))
        count.begin_counts()
        attention = nn.functional.scaled_dot_product_attention(query, key, key, enable_gqa=True)
        attention.sum().backward()
        return count.counts().flops


def test_keys_that_queries_share_are_as_much_work():
    """Two products of the scores forward and five backward, with whatever heads of keys."""
    product = 2 * (2 * 4) * 128 * 128 * 64
    assert [process.call(work_of_attention, heads) for heads in (4, 2)] == [7 * product] * 2
