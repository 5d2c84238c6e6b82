"""Projected features in few bits: the weight gradient's mean and spread, and what is kept."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

import rmmbench
from rmmbench import methods, models, sketches
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.methods._projected import Projected
from rmmbench.nn.compressed import compressed_linear
from rmmbench.nn.compressed_layers import CompressedLinear
from rmmbench.spec.case import Case

BITS = [2, 4, 8]
SETTINGS = [(0.3, None), *((rho, bits) for rho in (0.3, 1.0) for bits in BITS)]

each_setting = pytest.mark.parametrize(("rho", "bits"), SETTINGS)


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


def case(model, **settings):
    """Return a case of this method of 16 rows."""
    data = {"model": model, "method": "exact-rp", "batch_size": 16, "rho": 0.3}
    return Case.model_validate(data | settings)


def converted(model, **settings):
    """Convert a model in place, and return how many layers were."""
    return methods.stack(case("mlp", **settings).steps).apply(model, {})


def layer_of(linear, rho, bits):
    """Return a linear layer, converted."""
    converted(linear, rho=rho, bits=bits)
    return linear


def weight_gradients(x, y, weight, compression, draws):
    """Return the weight gradient of as many draws, stacked."""
    found = []
    for seed in range(draws):
        weight = weight.detach().requires_grad_()
        seeded = compression._replace(seed=torch.tensor(seed))
        compressed_linear(x, weight, None, seeded).backward(y)
        found.append(weight.grad)
    return torch.stack(found)


@each_setting
def test_weight_gradient_is_unbiased(rho, bits):
    """Its share of the exact gradient has the mean 1, within four standard errors."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 13, generator=generator).relu()
    y = torch.randn(40, 5, generator=generator)
    weight = torch.randn(5, 13, generator=generator)
    draws = 150
    found = weight_gradients(x, y, weight, Projected(rho, bits), draws)
    exact = y.T @ x
    shares = (found * exact).sum((1, 2)) / exact.square().sum()
    assert abs(float(shares.mean()) - 1) < 4 * float(shares.std()) / draws**0.5


def test_projections_noise_is_what_the_docstring_says():
    """The squared error of projecting alone has the mean ‖G‖² (N − 1) / k, to four errors."""
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(30, 21, generator=generator), torch.randn(30, 4, generator=generator)
    draws, proj_dim = 200, 7
    found = weight_gradients(x, y, torch.zeros(4, 21), Projected(proj_dim / 21), draws)
    exact = y.T @ x
    errors = (found - exact).square().sum((1, 2))
    expected = float(exact.square().sum()) * (21 - 1) / proj_dim
    assert abs(float(errors.mean()) - expected) < 4 * float(errors.std()) / draws**0.5


def test_projection_is_the_rademacher_sketch_of_the_features():
    """For one seed X_p is what the sketch makes of the transposed input."""
    x, y = torch.randn(20, 48), torch.randn(20, 3)
    weight = torch.zeros(3, 48, requires_grad=True)
    compressed_linear(x, weight, None, Projected(0.25, seed=torch.tensor(7))).backward(y)
    transposed = sketches.get("rademacher").project(torch.eye(48), 12, 7)
    torch.testing.assert_close(weight.grad, y.T @ x @ transposed.T @ transposed)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_makes_no_gradient_shorter(dtype):
    """A scale near a power of two, 255^−½, is not lost where products are rounded.

    By 5 standard errors of what rounds each number of the gradient, less than an eps together.
    """
    x, y = torch.randn(64, 256, dtype=dtype), torch.randn(64, 32, dtype=dtype)
    nearly_all = Projected(255 / 256)
    found, exact = (
        weight_gradients(x.to(kind), y.to(kind), torch.zeros(32, 256, dtype=kind), nearly_all, 1)
        for kind in (dtype, torch.float32)
    )
    factor = (found.double() * exact).sum() / exact.double().square().sum()
    standard_error = torch.finfo(dtype).eps * exact.square().norm() / exact.square().sum()
    assert abs(factor.item() - 1) <= 5 * standard_error.item()


@each_setting
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(63,), (2, 3, 5)])
def test_output_and_other_gradients_are_exact(rho, bits, dtype, shape):
    """Output, input gradient and bias gradient equal nn.Linear's for any leading dimensions."""
    linear = nn.Linear(24, 16, dtype=dtype)
    results = []
    x, y = torch.randn(*shape, 24, dtype=dtype), torch.randn(*shape, 16, dtype=dtype)
    for layer in (linear, layer_of(linear, rho, bits)):
        inputs = x.clone().requires_grad_()
        linear.zero_grad()
        output = layer(inputs)
        output.backward(y)
        results.append((output.detach(), inputs.grad, linear.bias.grad))
        assert linear.weight.grad.dtype == dtype
    assert type(linear) is CompressedLinear
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected)


@each_setting
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saves_what_its_docstring_says(saved_storages, rho, bits, dtype):
    """Packed rows, 4 bytes for the minimum and step of each, 8 for the seed; no copy of weight."""
    rows, features = 30, 26
    layer = layer_of(nn.Linear(features, 16, dtype=dtype), rho, bits)
    with saved_storages(layer) as saved:
        output = layer(torch.randn(5, 6, features, requires_grad=True, dtype=dtype))
    proj_dim = 8 if rho == 0.3 else features
    row = proj_dim * dtype.itemsize if bits is None else -(-proj_dim * bits // 8) + 4
    assert saved.total_bytes() == rows * row + 8
    del output


@pytest.mark.parametrize(("features", "rho", "proj_dim"), [(10, 0.01, 1), (10, 0.31, 4), (3, 1, 3)])
def test_the_size_is_rounded_up(features, rho, proj_dim):
    """It is ⌈ρN⌉, never 0 and never more than N."""
    assert Projected(rho).proj_dim_for(features) == proj_dim


@pytest.mark.parametrize("change", ["eval", "no_grad", "frozen", "empty", "all of it"])
def test_nothing_to_save_draws_nothing(change):
    """Where nothing would be kept, or all of it, the layer is nn.Linear and no seed is drawn."""
    layer = layer_of(nn.Linear(24, 16), 1.0 if change == "all of it" else 0.5, None)
    x = torch.randn(0 if change == "empty" else 20, 24, requires_grad=True)
    layer.train(change != "eval")
    layer.weight.requires_grad_(change != "frozen")
    rmmbench.manual_seed(3)
    with torch.set_grad_enabled(change != "no_grad"):
        assert "Compressed" not in type(layer(x).grad_fn).__name__
    after = rmmbench.nn.seeds.next_seed()
    rmmbench.manual_seed(3)
    assert torch.equal(after, rmmbench.nn.seeds.next_seed())


def test_noise_is_new_at_every_step_and_repeats():
    """Each step draws anew, from the project's stream: a seed repeats it, torch's is left alone."""
    layer, x = layer_of(nn.Linear(24, 16), 0.2, 4), torch.randn(20, 24)
    state, gradients = torch.get_rng_state(), []
    for start in (True, False, True):
        if start:
            rmmbench.manual_seed(3)
        layer.zero_grad()
        layer(x).square().sum().backward()
        gradients.append(layer.weight.grad)
    assert torch.equal(gradients[0], gradients[2])
    assert not torch.allclose(gradients[0], gradients[1])
    assert torch.equal(state, torch.get_rng_state())


@each_setting
def test_autocast_dtypes(saved_storages, rho, bits):
    """Under autocast dtypes are nn.Linear's, and the cast input is kept, but no cast weight."""
    linear = nn.Linear(24, 16)
    x = torch.randn(20, 24, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = linear(x)
        with saved_storages(linear) as saved:
            output = layer_of(linear, rho, bits)(x)
    torch.testing.assert_close(output, expected)
    proj_dim = 8 if rho == 0.3 else 24
    row = proj_dim * 2 if bits is None else proj_dim * bits // 8 + 4
    assert saved.total_bytes() == 20 * row + 8
    output.float().sum().backward()
    assert {linear.weight.grad.dtype, linear.bias.grad.dtype, x.grad.dtype} == {torch.float32}


def test_double_backward_is_refused():
    """A gradient of a gradient would be an estimate of nothing: it is refused, with a way out."""
    layer, x = layer_of(nn.Linear(24, 16), 0.5, None), torch.randn(20, 24)
    with pytest.raises(RuntimeError, match=r"no double backward.*use torch.nn.Linear"):
        torch.autograd.grad(layer(x).square().sum(), layer.weight, create_graph=True)


def test_checkpointing_repeats_the_projection_it_keeps():
    """Under checkpointing the gradient is that of one draw, made in the second forward pass."""
    layer, x = layer_of(nn.Linear(24, 16), 0.5, None), torch.randn(20, 24, requires_grad=True)
    y = torch.randn(20, 16)
    output = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
    rmmbench.manual_seed(9)
    output.backward(y)
    found = layer.weight.grad
    rmmbench.manual_seed(9)
    layer.zero_grad()
    layer(x).backward(y)
    torch.testing.assert_close(layer.weight.grad, found)


def test_compiled_gradients_are_those_of_the_seed():
    """Compiled, the backward pass has the R of the forward pass: the gradient is not noise."""
    torch._dynamo.reset()
    layer, x = layer_of(nn.Linear(24, 16), 0.5, 4), torch.randn(20, 24)
    y = torch.randn(20, 16)
    gradients = []
    for called in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
        layer.zero_grad()
        rmmbench.manual_seed(9)
        called(x).backward(y)
        gradients.append(layer.weight.grad)
    torch.testing.assert_close(*gradients)


def test_conv1d_is_converted_too():
    """GPT-2's layer, whose weight is transposed, has its own outputs and an unbiased gradient."""
    layer, x = Conv1D(5, 13), torch.randn(40, 13)
    expected = layer(x)
    expected.square().sum().backward()
    exact = layer.weight.grad
    assert converted(layer, rho=0.5) == 1
    shares, draws = [], 100
    rmmbench.manual_seed(2)
    for _ in range(draws):
        layer.zero_grad()
        output = layer(x)
        output.square().sum().backward()
        shares.append((layer.weight.grad * exact).sum() / exact.square().sum())
    torch.testing.assert_close(output, expected)
    shares = torch.stack(shares)
    assert abs(float(shares.mean()) - 1) < 4 * float(shares.std()) / draws**0.5


@each_setting
def test_memory_can_be_predicted(saved_storages, rho, bits):
    """On fake tensors a step holds what a real one would, by the same formula."""
    wanted = case("mlp:26-26-4", rho=rho, bits=bits, exclude=["layers.1"])

    def prepare():
        built = models.build(wanted)
        batch = built.make_batch()
        methods.stack(wanted.steps).apply(built.model, batch)
        optimizer = make_optimizer("adam", built.model.parameters(), foreach=False)
        return TrainingStep(built.model, batch, optimizer)

    real = prepare()
    with saved_storages(real.model) as saved:
        loss = real.forward()
    expected = saved.total_bytes()
    del loss
    assert predict_memory(prepare).saved_bytes == expected


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ({}, ["layers.0", "layers.1", "layers.2"]),
        ({"include": ["layers.[12]"], "exclude": ["*.2"]}, ["layers.1"]),
    ],
)
def test_patterns_choose_the_layers(patterns, names):
    """Only layers that the patterns let through are converted, and the count is of them."""
    model = models.build(case("mlp:6-8-8-4")).model
    assert converted(model, **patterns) == len(names)
    assert [n for n, m in model.named_modules() if isinstance(m, CompressedLinear)] == names


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (nn.ReLU(), {}, "exact-rp must have a linear layer to convert, and the model has none"),
        (
            nn.Sequential(nn.Linear(3, 3)),
            {"include": ["encoder.*"]},
            "no layer matches include=['encoder.*'], exclude=[]; the model's 1 linear layers are",
        ),
    ],
)
def test_what_cannot_be_converted_is_told(model, settings, message):
    """The error says what must hold and what was given."""
    with pytest.raises(ValueError, match=r".") as caught:
        converted(model, **settings)
    assert str(caught.value).startswith(message)
