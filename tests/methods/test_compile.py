"""Compiled models: eager's gradients at every budget, in less memory, and right beside sketches."""

import math

import pytest
import torch
import torch._dynamo
import torch._functorch.config
import torch._inductor.config
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import nn
from torch._dynamo.utils import counters

import rmmbench
from rmmbench import methods
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.spec.case import Case

pytestmark = pytest.mark.usefixtures("one_thread")

WAYS = [("compile", None), ("memory-budget", 0.5), ("memory-budget", 0.0)]

each_way = pytest.mark.parametrize(("method", "budget"), WAYS)


@pytest.fixture(scope="module", autouse=True)
def _own_code():
    """Begin with no compiled code, share it between the tests here, and leave none."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Net(nn.Module):
    """Linear layers with dropout before and between them: its masks are cheap, and to be kept."""

    def __init__(self):
        """Make the layers."""
        super().__init__()
        self.first, self.last = nn.Linear(24, 64), nn.Linear(64, 8)

    def forward(self, x):
        """Return a scalar."""
        hidden = torch.tanh(self.first(F.dropout(x, 0.2, self.training)))
        hidden = F.dropout(torch.sin(hidden) * torch.exp(hidden), 0.3, self.training)
        return self.last(hidden).square().mean()


def made(method="exact", budget=None, **settings):
    """Return a model that a method was applied to, and its batch."""
    torch.manual_seed(0)
    model = Net().train()
    batch = {"x": torch.randn(63, 24)}
    case = Case(model="net", batch_size=63, method=method, budget=budget, **settings)
    methods.stack(case.steps).apply(model, batch)
    return model, batch


def trained(model, batch, seed=5):
    """Return loss, gradients, and the next random number, of one forward and backward pass."""
    torch.manual_seed(seed)
    model.zero_grad()
    loss = model(**batch)
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return loss.detach(), gradients, torch.rand(1)


@each_way
def test_a_compiled_model_trains_as_the_eager_one(method, budget):
    """Loss and gradients are eager's, dropout drawn alike, and the next random number is."""
    torch.testing.assert_close(trained(*made(method, budget)), trained(*made()))


@each_way
def test_the_reference_neither_compiles_nor_forgets(method, budget):
    """In the reference the model is eager, to the bit; after it, it is compiled as before."""
    model, batch = made(method, budget)
    before = trained(model, batch)
    graphs = counters["stats"]["unique_graphs"]
    with methods.get(method).reference(model):
        within = trained(model, batch)
    torch.testing.assert_close(within, trained(*made()), rtol=0, atol=0)
    torch.testing.assert_close(trained(model, batch), before, rtol=0, atol=0)
    assert counters["stats"]["unique_graphs"] == graphs


def test_a_budget_is_kept_to(saved_storages):
    """Less is saved at a lower budget, and half of it where the case does not say."""
    saved_bytes = []
    for method, budget in [*WAYS, ("memory-budget", None)]:
        model, batch = made(method, budget)
        with saved_storages(model) as saved:
            loss = model(**batch)
        saved_bytes.append(saved.total_bytes())
        del loss
    full, half, none, unsaid = saved_bytes
    assert full > half > none
    assert unsaid == half
    # What the first dropout left of the batch, and the second one's mask, of a byte an element.
    assert none == 63 * 24 * 4 + 63 * 64


def test_a_budget_is_no_one_elses():
    """Neither before nor after a model is compiled is the budget that of other code."""
    model, batch = made("memory-budget", 0.25)
    trained(model, batch)
    assert torch._functorch.config.activation_memory_budget == 1.0
    assert not torch._inductor.config.fallback_random


@each_way
def test_memory_can_be_measured(saved_storages, method, budget):
    """Allocator events tell what autograd saved, and two warmed-up steps agree; none recompiles."""

    def prepare():
        model, batch = made(method, budget)
        return TrainingStep(model, batch, make_optimizer("adam", model.parameters(), foreach=False))

    step = prepare()
    with saved_storages(step.model) as saved:
        loss = step.forward()
    expected = saved.total_bytes()
    del loss
    step()
    graphs = counters["stats"]["unique_graphs"]
    memory, warnings = measure_cpu_memory(prepare)
    assert not warnings
    # The allocator rounds up to 64 bytes.
    assert memory.saved_bytes == pytest.approx(expected, abs=8 * 64)
    assert counters["stats"]["unique_graphs"] == graphs


@pytest.mark.parametrize(("method", "budget"), [WAYS[0], WAYS[2]])
def test_sketched_gradients_are_no_noise(method, budget):
    """Compiled with a sketch, the weight gradients' mean lies along exact's, at length 1."""
    # Rows near one line, half of them opposite: little noise, and sums of rows are near 0.
    rows = torch.randn(24, generator=torch.Generator().manual_seed(1))
    exact_model, batch = made()
    model, _ = made(f"rmm+{method}", budget, sketch="gaussian", rho=0.4)
    batch["x"] = batch["x"] * 0.3 + rows * torch.tensor([1.0, -1.0]).repeat(32)[:63, None]
    exact = [gradient.clone() for gradient in trained(exact_model, batch)[1]]
    rmmbench.manual_seed(2)
    draws, along = 60, []
    for _ in range(draws):
        drawn = trained(model, batch)[1]
        pairs = [(d, e) for d, e in zip(drawn, exact, strict=True) if e.dim() > 1]
        along.append([float((d * e).sum() / e.square().sum()) for d, e in pairs])
    along = torch.tensor(along)
    error = along.std(0) / math.sqrt(draws)
    assert bool((error < 0.1).all()), error
    assert bool((along.std(0) > 0.01).all())
    assert bool(((along.mean(0) - 1).abs() < 5 * error).all()), along.mean(0)


@pytest.mark.parametrize("method", ["compile", "memory-budget"])
def test_what_is_lacking_is_told(method):
    """Nothing is predicted, and without a C++ compiler nothing compiled for the CPU."""
    chosen = methods.get(method)
    assert chosen.lacks("cpu") is None
    assert chosen.lacks("predict").startswith("what compiled code allocates is the compiler's")
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}):
        told = "torch.compile needs a C++ compiler on the CPU, and found none; install g++"
        assert chosen.lacks("cpu") == told
        with pytest.raises(ValueError, match=r"needs a C\+\+ compiler"):
            made(method)


def test_nothing_runs_uncompiled_unseen():
    """Where torch would go on without compiling, there is an error, in one line."""
    model, batch = made("compile")
    trained(model, batch)
    with (
        torch._dynamo.config.patch(recompile_limit=1),
        pytest.raises(RuntimeError, match="must not be compiled more than 1 times") as caught,
    ):
        model(batch["x"][:5])
    assert "\n" not in str(caught.value)
