"""The model that times a sketch alone: a step of it is the projection, and nothing else."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch.utils._python_dispatch import TorchDispatchMode

from rmmbench import models, sketches
from rmmbench.nn import convert, exact_layers, manual_seed
from rmmbench.nn.seeds import next_seed
from rmmbench.spec.case import Case

ROWS, SEQ_LEN = 6, 4


class Operators(TorchDispatchMode):
    """Counts the operators that are called, those inside a sketch's operators left out."""

    def __init__(self):
        """Start from nothing."""
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Count the operator, and call it."""
        self.counts[func.name()] += 1
        return func(*args, **(kwargs or {}))

    @property
    def work(self):
        """What does work in proportion to the input, or more."""
        names = ("rmmbench::", "aten::mm", "aten::addmm", "aten::bmm", "aten::mul", "aten::sum")
        return {name: n for name, n in self.counts.items() if name.startswith(names)}


def made(**settings):
    """Return the model, converted if there are settings, and a batch of 6 × 4 rows."""
    case = Case(model="projection:8x5", batch_size=ROWS, seq_len=SEQ_LEN)
    built = models.build(case)
    model = built.model.train()
    return convert(model, **settings) if settings else model, built.make_batch()


def work(model, batch):
    """Return the operators of one training step that do work."""
    with Operators() as operators:
        model(**batch).backward()
    return operators.work


@pytest.mark.parametrize("name", sketches.names())
def test_a_step_is_one_projection(name):
    """A converted model draws one S and projects once; there is no product, and none backward."""
    model, batch = made(sketch=name, rho=0.5)
    assert work(model, batch) == {"rmmbench::sketch": 1}


def test_an_exact_step_is_one_product():
    """The unchanged model, and a converted one made exact, multiply once."""
    model, batch = made()
    assert work(model, batch) == {"aten::addmm": 1}
    model, batch = made(sketch="oporp", rho=0.5)
    with exact_layers(model):
        assert work(model, batch) == {"aten::addmm": 1}


def test_what_is_timed_is_the_sketch_and_the_product():
    """The projection is that of the layer's settings, and the product that of the layer."""
    model, batch = made(sketch="rademacher", rho=0.5, block_rows=8)
    rows = batch["input"].reshape(ROWS * SEQ_LEN, 8)
    manual_seed(7)
    expected = sketches.get("rademacher", block_rows=8).project(rows, 12, next_seed(rows.device))
    manual_seed(7)
    torch.testing.assert_close(model.timed(batch["input"]), expected)
    assert not torch.equal(model.timed(batch["input"]), expected)
    exact, _ = made()
    expected = F.linear(batch["input"], exact.linear.weight, exact.linear.bias)
    torch.testing.assert_close(exact.timed(batch["input"]), expected)


def test_a_rate_of_one_is_the_product():
    """Where nothing would be saved the layer takes the product, as it does in training."""
    model, batch = made(sketch="gaussian", rho=1.0)
    assert work(model, batch) == {"aten::addmm": 1}


def test_a_step_trains_one_number():
    """There is a scalar loss with a gradient, and the layer is left as it is."""
    model, batch = made(sketch="oporp", rho=0.5)
    loss = model(**batch)
    assert loss.shape == ()
    loss.backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {"loss"}


def test_what_a_step_is_stands_in_the_record():
    """The record says what its steps are, since its ratio is no layer's throughput."""
    built = models.build(Case(model="projection", batch_size=2))
    assert "a step is one projection, or one product without RMM" in built.synthetic
