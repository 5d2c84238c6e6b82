"""Sub-tokens on one direction: gradients are exact ones, projected, and what is kept is less."""

from functools import partial

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from rmmbench import methods, models
from rmmbench.measures.gradient.error import measure_gradient_error
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.methods._subtokens import mean_direction
from rmmbench.nn.compressed_layers import CompressedConv1D
from rmmbench.spec.case import Case

# One that divides 24 features, one that does not, and one that is more.
SIZES = [8, 7, 64]

each_size = pytest.mark.parametrize("size", SIZES)


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""
    torch.manual_seed(0)


def case(model="mlp", **settings):
    """Return a case of this method of 16 rows."""
    data = {"model": model, "method": "velora", "batch_size": 16}
    return Case.model_validate(data | settings)


def converted(model, **settings):
    """Convert a model in place, and return how many layers were."""
    return methods.stack(case(**settings).steps).apply(model, {})


def layer_of(linear, size):
    """Return a linear layer, converted."""
    converted(linear, group_size=size)
    return linear


def projection(direction, features):
    """Return V Vᵀ, shape (features, features), entry by entry."""
    size = len(direction)
    projected = torch.zeros(features, features)
    for i in range(features):
        for j in range(features):
            if i // size == j // size:
                projected[i, j] = direction[i % size] * direction[j % size]
    return projected


@each_size
def test_weight_gradient_is_the_projected_one(size):
    """It is YᵀX V Vᵀ, with v the mean sub-token of the first batch, normalised."""
    layer = layer_of(nn.Linear(24, 5), size)
    x, y = torch.randn(2, 20, 24) + 0.5, torch.randn(2, 20, 5)
    layer(x).backward(y)
    size = min(size, 24)
    padded = torch.nn.functional.pad(x.view(40, 24), (0, -24 % size))
    mean = padded.reshape(-1, size).mean(0)
    direction = mean / mean.norm()
    torch.testing.assert_close(layer.direction, direction)
    exact = y.view(40, 5).T @ x.view(40, 24)
    torch.testing.assert_close(layer.weight.grad, exact @ projection(direction, 24))


def test_projecting_twice_is_projecting_once():
    """Where the size divides the features, sub-tokens along v lose nothing at all."""
    layer = layer_of(nn.Linear(24, 5), 8)
    pattern = torch.randn(8)
    x, y = torch.randn(20, 3, 1) * pattern, torch.randn(20, 5)
    layer(x.reshape(20, 24)).backward(y)
    torch.testing.assert_close(layer.weight.grad, y.T @ x.reshape(20, 24))


def test_the_first_batch_decides():
    """Later batches, and batches in eval mode or the reference, leave the direction as it is."""
    layer = layer_of(nn.Linear(24, 5), 8)
    method = methods.get("velora")
    layer.eval()(torch.randn(9, 24))
    layer.train()
    with method.reference(layer):
        layer(torch.randn(9, 24))
    with torch.no_grad():
        layer(torch.randn(9, 24))
    assert not layer.direction.any()
    first = torch.randn(20, 24)
    layer(first)
    expected = mean_direction(first, 8)
    layer(torch.randn(20, 24))
    torch.testing.assert_close(layer.direction, expected)


def test_a_mean_of_zero_gives_equal_entries():
    """There is always a unit vector to project on."""
    direction = mean_direction(torch.zeros(5, 24), 9)
    torch.testing.assert_close(direction, torch.full((9,), 1 / 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_makes_no_gradient_longer(dtype):
    """The rounded v counts as a direction of length 1: 37 equal entries are 0.2 % off in bfloat16.

    By 5 standard errors: of each output a few numbers are rounded, by half an eps at most.
    """
    linear = layer_of(nn.Linear(74, 512, bias=False, dtype=dtype), 37)
    linear.direction.fill_(37**-0.5)
    linear.has_direction = True
    x, y = torch.randn(64, 74, dtype=dtype), torch.randn(64, 512, dtype=dtype)
    linear(x).backward(y)
    expected = (y.double().T @ x.double()) @ projection(linear.direction.double(), 74).double()
    factor = (linear.weight.grad * expected).sum() / expected.square().sum()
    assert abs(factor.item() - 1) <= 5 * torch.finfo(dtype).eps / 2 * (3 / 1024) ** 0.5


@pytest.mark.parametrize("way", ["checkpointed", "compiled"])
def test_other_ways_to_run_give_the_same_gradient(way):
    """Checkpointed or compiled, the first batch decides once, and gradients are eager's."""
    gradients = []
    x, later, y = torch.randn(20, 24), torch.randn(20, 24), torch.randn(20, 16)
    weights = nn.Linear(24, 16).state_dict()
    for changed in (False, True):
        layer = layer_of(nn.Linear(24, 16), 8)
        layer.load_state_dict(weights)
        called = layer
        if changed and way == "compiled":
            torch._dynamo.reset()
            called = torch.compile(layer, backend="aot_eager", fullgraph=True)
        if changed and way == "checkpointed":
            called = partial(torch.utils.checkpoint.checkpoint, layer, use_reentrant=False)
        called(x.requires_grad_()).backward(y)
        called(later).backward(y)
        gradients.append((layer.weight.grad, layer.direction))
    torch.testing.assert_close(*gradients)


def test_conv1d_is_converted_too():
    """GPT-2's layer, whose weight is transposed, has its own outputs and a projected gradient."""
    layer, x, y = Conv1D(5, 24), torch.randn(40, 24), torch.randn(40, 5)
    expected = layer(x)
    assert converted(layer, group_size=7) == 1
    assert type(layer) is CompressedConv1D
    output = layer(x)
    output.backward(y)
    torch.testing.assert_close(output, expected)
    projected = projection(layer.direction, 24)
    torch.testing.assert_close(layer.weight.grad, projected @ x.T @ y)


def prepare(wanted):
    """Return a training step of a case."""
    torch.manual_seed(0)
    built = models.build(wanted)
    batch = built.make_batch()
    model = built.model.train()
    methods.stack(wanted.steps).apply(model, batch)
    return TrainingStep(model, batch, make_optimizer("adam", model.parameters(), foreach=False))


def test_the_error_is_the_same_at_each_draw():
    """A projection of the gradient is shorter than it, and no mean brings the rest back."""
    wanted = case("mlp:64-64-10", group_size=8)
    step = prepare(wanted)
    step.forward()
    reference = partial(methods.get("velora").reference, step.model)
    found = measure_gradient_error(step, reference, 3, 0)
    assert 0 < found.mean_error < 1
    assert found.errors == pytest.approx([found.mean_error] * 3)
