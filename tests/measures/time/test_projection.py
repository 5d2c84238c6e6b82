"""A sketch timed alone: what is computed is the projection, and nothing else."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch.utils._python_dispatch import TorchDispatchMode

from rmmbench import models, sketches
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.measures.time.projection import Projection
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
    """Return the projection of a layer of 6 × 4 rows, converted if there are settings."""
    built = models.build(Case(model="linear:8x5", batch_size=ROWS, seq_len=SEQ_LEN))
    model = built.model.train()
    optimizer = make_optimizer("sgd", model.parameters(), foreach=False)
    changed = convert(model, **settings) if settings else model
    return Projection.of(TrainingStep(changed, built.make_batch(), optimizer))


def work(projection):
    """Return the operators of one call that do work."""
    with Operators() as operators:
        projection()
    return operators.work


@pytest.mark.parametrize("name", sketches.names())
def test_a_step_is_one_projection(name):
    """A converted model draws one S and projects once; there is no product, and none backward."""
    assert work(made(sketch=name, rho=0.5)) == {"rmmbench::sketch": 1}


def test_an_exact_step_is_one_product():
    """The unchanged model, and a converted one made exact, multiply once."""
    assert work(made()) == {"aten::addmm": 1}
    projection = made(sketch="oporp", rho=0.5)
    with exact_layers(projection.layer):
        assert work(projection) == {"aten::addmm": 1}


def test_what_is_timed_is_the_sketch_and_the_product():
    """The projection is that of the layer's settings, and the product that of the layer."""
    projection = made(sketch="rademacher", rho=0.5, block_rows=8)
    rows = projection.input.reshape(ROWS * SEQ_LEN, 8)
    manual_seed(7)
    expected = sketches.get("rademacher", block_rows=8).project(rows, 12, next_seed(rows.device))
    manual_seed(7)
    torch.testing.assert_close(projection(), expected)
    assert not torch.equal(projection(), expected)
    exact = made()
    expected = F.linear(exact.input, exact.layer.weight, exact.layer.bias)
    torch.testing.assert_close(exact(), expected)


def test_a_rate_of_one_is_the_product():
    """Where nothing would be saved the layer takes the product, as it does in training."""
    assert work(made(sketch="gaussian", rho=1.0)) == {"aten::addmm": 1}


@pytest.mark.parametrize("settings", [{}, {"sketch": "oporp", "rho": 0.5}])
def test_no_graph_is_kept(settings):
    """Neither the product nor the projection has a gradient."""
    assert not made(**settings)().requires_grad
