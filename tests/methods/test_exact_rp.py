"""Projected features in few bits: the weight gradient's mean and spread, and what is kept."""

import pytest
import torch
from torch import nn

import rmmbench
from rmmbench import methods, sketches
from rmmbench.methods._projected import Projected
from rmmbench.nn.compressed import compressed_linear
from rmmbench.spec.case import Case


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


@pytest.mark.parametrize(("features", "rho", "proj_dim"), [(10, 0.01, 1), (10, 0.31, 4), (3, 1, 3)])
def test_the_size_is_rounded_up(features, rho, proj_dim):
    """It is ⌈ρN⌉, never 0 and never more than N."""
    assert Projected(rho).proj_dim_for(features) == proj_dim


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
