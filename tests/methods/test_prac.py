"""Principal and random features: the weight gradient's mean and spread, and what is kept."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)
from transformers.pytorch_utils import Conv1D

import rmmbench
from rmmbench import methods
from rmmbench.methods._principal import PrincipalAndRandom, features_of
from rmmbench.nn.compressed_layers import CompressedConv1D, CompressedLinear
from rmmbench.spec.case import Case

SETTINGS = [(0.3, 0.5), (0.3, 0.0), (0.3, 1.0), (0.8, 0.5)]

each_setting = pytest.mark.parametrize(("rho", "share"), SETTINGS)


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""
    torch.manual_seed(0)
    rmmbench.manual_seed(0)


def converted(model, **settings):
    """Convert a model in place, and return how many layers were."""
    data = {"model": "mlp", "method": "prac", "batch_size": 16, "rho": 0.3}
    return methods.stack(Case.model_validate(data | settings).steps).apply(model, {})


def layer_of(linear, rho=0.3, share=0.5):
    """Return a linear layer, converted."""
    converted(linear, rho=rho, principal_share=share)
    return linear


def weight_gradients(layer, x, y, draws, run=None):
    """Return the weight gradient of as many calls, stacked."""
    run, found = layer if run is None else run, []
    for _ in range(draws):
        layer.weight.grad = None
        run(x).backward(y)
        found.append(layer.weight.grad)
    return torch.stack(found)


def share_of_exact(found, exact):
    """Return the mean share of the exact gradient in some, and its standard error."""
    shares = (found * exact).sum((1, 2)) / exact.square().sum()
    return float(shares.mean()), float(shares.std()) / len(found) ** 0.5


@each_setting
def test_weight_gradient_is_unbiased(rho, share):
    """Its share of the exact gradient has the mean 1, within four standard errors."""
    x, y = torch.randn(40, 13).relu(), torch.randn(40, 5)
    found = weight_gradients(layer_of(nn.Linear(13, 5), rho, share), x, y, 150)
    mean, error = share_of_exact(found, y.T @ x)
    assert abs(mean - 1) < 4 * error


def test_noise_is_what_the_docstring_says():
    """The squared error has the mean ‖R‖² ((N − r₁) / r₂ − 1), to four standard errors."""
    x, y, basis = torch.randn(30, 21), torch.randn(30, 4), torch.randn(21, 4)
    exact, errors, draws, random = y.T @ x, [], 300, 3
    for seed in range(draws):
        z, q, _ = features_of(x, basis, random, torch.tensor(seed))
        estimate = y.T @ z[:, :4] @ q[:, :4].T + 17 / random * y.T @ z[:, 4:] @ q[:, 4:].T
        errors.append((estimate - exact).square().sum())
    inside = torch.linalg.qr(basis).Q
    rest = exact - exact @ inside @ inside.T
    expected = float(rest.square().sum()) * (17 / random - 1)
    errors = torch.stack(errors)
    assert abs(float(errors.mean()) - expected) < 4 * float(errors.std()) / draws**0.5


def test_basis_follows_the_principal_features():
    """An input of few directions is kept whole after some calls, and its gradient is exact."""
    x = torch.randn(60, 3) @ torch.randn(3, 24)
    layer, y = layer_of(nn.Linear(24, 16), 0.25), torch.randn(60, 16)
    found, exact = weight_gradients(layer, x, y, 6), y.T @ x
    assert float((found[0] - exact).norm() / exact.norm()) > 0.5
    torch.testing.assert_close(found[-1], exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, float("inf"), float("nan")])
def test_a_bad_batch_leaves_the_basis(value):
    """After an overflow, or a batch of zeros, the basis is what it was."""
    layer = layer_of(nn.Linear(24, 16))
    layer(torch.randn(20, 24))
    before = layer.basis.clone()
    layer(torch.full((20, 24), value))
    assert torch.equal(layer.basis, before)


@each_setting
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(63,), (2, 3, 5)])
def test_output_and_other_gradients_are_exact(rho, share, dtype, shape):
    """Output, input gradient and bias gradient equal nn.Linear's for any leading dimensions."""
    linear = nn.Linear(24, 16, dtype=dtype)
    results = []
    x, y = torch.randn(*shape, 24, dtype=dtype), torch.randn(*shape, 16, dtype=dtype)
    for layer in (linear, layer_of(linear, rho, share)):
        inputs = x.clone().requires_grad_()
        linear.zero_grad()
        output = layer(inputs)
        output.backward(y)
        results.append((output.detach(), inputs.grad, linear.bias.grad))
        assert linear.weight.grad.dtype == dtype
    assert type(linear) is CompressedLinear
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_makes_no_gradient_shorter(dtype):
    """The random part's scale, 255 / 254, is not lost where products are rounded.

    By 5 standard errors of what rounds each number of the gradient, less than an eps together.
    """
    x, y = torch.randn(64, 256, dtype=dtype), torch.randn(64, 32, dtype=dtype)
    layer = layer_of(nn.Linear(256, 32, bias=False, dtype=dtype), 255 / 256, 1 / 255)
    found = weight_gradients(layer, x, y, 1)[0].double()
    exact = y.double().T @ x.double()
    factor = (found * exact).sum() / exact.square().sum()
    rounding = torch.finfo(dtype).eps * exact.square().norm() / exact.square().sum()
    # Of 255 features one at random is missing, which another's scale makes up for on average.
    assert abs(factor.item() - 1) <= 5 * (rounding.item() + 255**-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saves_what_its_docstring_says(saved_storages, dtype):
    """(rows + features) · ⌈ρN⌉ elements at each call, and neither a seed nor the buffer."""
    layer = layer_of(nn.Linear(26, 16, dtype=dtype))
    for _ in range(2):
        with saved_storages(layer) as saved:
            output = layer(torch.randn(5, 6, 26, requires_grad=True, dtype=dtype))
        assert saved.total_bytes() == (30 + 26) * 8 * dtype.itemsize
        del output


@pytest.mark.parametrize(
    ("features", "rho", "share", "ranks"),
    [(10, 0.01, 1, (0, 1)), (10, 0.31, 0.5, (2, 2)), (10, 0.31, 1, (3, 1)), (3, 1, 0.5, (1, 2))],
)
def test_one_feature_at_least_is_random(features, rho, share, ranks):
    """⌈ρN⌉ features, never 0 and never all principal, which would be biased."""
    assert PrincipalAndRandom(rho, share).ranks(features) == ranks


@pytest.mark.parametrize("change", ["eval", "no_grad", "frozen", "empty", "all of it"])
def test_nothing_to_save_changes_nothing(change):
    """Where nothing would be kept, or all of it, it is nn.Linear: no seed, and the same basis."""
    layer = layer_of(nn.Linear(24, 16), 1.0 if change == "all of it" else 0.5)
    x = torch.randn(0 if change == "empty" else 20, 24, requires_grad=True)
    layer.train(change != "eval")
    layer.weight.requires_grad_(change != "frozen")
    basis = layer.basis.clone()
    with torch.set_grad_enabled(change != "no_grad"):
        assert "Compressed" not in type(layer(x).grad_fn).__name__
    assert torch.equal(layer.basis, basis)
    after = rmmbench.nn.seeds.next_seed()
    rmmbench.manual_seed(0)
    assert torch.equal(after, rmmbench.nn.seeds.next_seed())


def test_noise_repeats_with_its_seed():
    """Each call draws anew from the project's stream, and torch's is left alone."""
    x, y, state = torch.randn(20, 24), torch.randn(20, 16), torch.get_rng_state()
    gradients = []
    for _ in range(2):
        rmmbench.manual_seed(3)
        gradients.append(weight_gradients(layer_of(nn.Linear(24, 16)), x, y, 2))
        torch.set_rng_state(state)
    assert torch.equal(*gradients)
    assert not torch.allclose(gradients[0][0], gradients[0][1])


def kept_products(context, operator, *args, **kwargs):
    """Return what a selective checkpoint does that keeps products of matrices."""
    is_kept = operator in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
    return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE


RUNS = {
    "reentrant": lambda layer: partial(checkpoint, layer, use_reentrant=True),
    "checkpointed": lambda layer: partial(checkpoint, layer, use_reentrant=False),
    "selective": lambda layer: partial(
        checkpoint,
        layer,
        use_reentrant=False,
        context_fn=partial(create_selective_checkpoint_contexts, kept_products),
    ),
    "aot_eager": partial(torch.compile, backend="aot_eager", fullgraph=True),
    "inductor": partial(torch.compile, fullgraph=True),
}


@pytest.mark.parametrize("run", RUNS)
def test_other_ways_to_run_give_no_noise(run):
    """Computed again or compiled, the backward pass has the Q that made Z: the mean is right."""
    torch._dynamo.reset()
    layer = layer_of(nn.Linear(24, 16), 0.5)
    x, y = (torch.randn(40, 24) + 1).requires_grad_(), torch.randn(40, 16)
    basis, draws = layer.basis.clone(), 60
    found = weight_gradients(layer, x, y, draws, RUNS[run](layer))
    mean, error = share_of_exact(found, y.T @ x.detach())
    assert error < 0.1
    assert abs(mean - 1) < 5 * error
    assert not torch.equal(layer.basis, basis)


def test_a_second_call_before_the_first_backward_pass():
    """What a call keeps is its own, though the layer's basis moves on."""
    x, y = torch.randn(60, 3) @ torch.randn(3, 24), torch.randn(60, 16)
    layer = layer_of(nn.Linear(24, 16), 0.25)
    weight_gradients(layer, x, y, 6)
    first = layer(x)
    layer(torch.randn(60, 24))
    layer.weight.grad = None
    first.backward(y)
    torch.testing.assert_close(layer.weight.grad, y.T @ x, rtol=1e-3, atol=1e-3)


def test_autocast_dtypes(saved_storages):
    """Under autocast dtypes are nn.Linear's, and what is kept is of the cast input."""
    linear, x = nn.Linear(24, 16), torch.randn(20, 24, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = linear(x)
        with saved_storages(linear) as saved:
            output = layer_of(linear)(x)
    torch.testing.assert_close(output, expected)
    assert saved.total_bytes() == (20 + 24) * 8 * 2
    output.float().sum().backward()
    assert {linear.weight.grad.dtype, linear.bias.grad.dtype, x.grad.dtype} == {torch.float32}


def test_conv1d_is_converted_too():
    """GPT-2's layer, whose weight is transposed, has its own outputs and an unbiased gradient."""
    layer, x, y = Conv1D(5, 13), torch.randn(40, 13), torch.randn(40, 5)
    expected = layer(x)
    assert converted(layer, rho=0.5) == 1
    assert type(layer) is CompressedConv1D
    torch.testing.assert_close(layer(x), expected)
    mean, error = share_of_exact(weight_gradients(layer, x, y, 100), x.T @ y)
    assert abs(mean - 1) < 4 * error


def test_state_dict_keys_stay():
    """What a converted model is saved as, an unchanged one can load."""
    layer = layer_of(nn.Linear(24, 16))
    layer(torch.randn(20, 24))
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_work_is_counted():
    """A counter of work sees Z, and the step of subspace iteration: 2·B·N·(r₁ + r₂ + r₁)."""
    layer = layer_of(nn.Linear(24, 16))
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        layer(torch.randn(20, 24))
    assert counter.get_total_flops() == 2 * 20 * 24 * (16 + 8 + 4)
