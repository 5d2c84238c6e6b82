"""Principal and random features: the weight gradient's mean and spread, and what is kept."""

import pytest
import torch
from torch import nn

import rmmbench
from rmmbench import methods
from rmmbench.methods._principal import PrincipalAndRandom, features_of
from rmmbench.spec.case import Case


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


def test_basis_follows_the_principal_features(gradients_of):
    """An input of few directions is kept whole after some calls, and its gradient is exact."""
    x = torch.randn(60, 3) @ torch.randn(3, 24)
    layer, y = layer_of(nn.Linear(24, 16), 0.25), torch.randn(60, 16)
    found, exact = gradients_of(layer, x, y, 6), y.T @ x
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_makes_no_gradient_shorter(dtype, gradients_of):
    """The random part's scale, 255 / 254, is not lost where products are rounded.

    By 5 standard errors of what rounds each number of the gradient, less than an eps together.
    """
    x, y = torch.randn(64, 256, dtype=dtype), torch.randn(64, 32, dtype=dtype)
    layer = layer_of(nn.Linear(256, 32, bias=False, dtype=dtype), 255 / 256, 1 / 255)
    found = gradients_of(layer, x, y, 1)[0].double()
    exact = y.double().T @ x.double()
    factor = (found * exact).sum() / exact.square().sum()
    rounding = torch.finfo(dtype).eps * exact.square().norm() / exact.square().sum()
    # Of 255 features one at random is missing, which another's scale makes up for on average.
    assert abs(factor.item() - 1) <= 5 * (rounding.item() + 255**-1)


@pytest.mark.parametrize(
    ("features", "rho", "share", "ranks"),
    [(10, 0.01, 1, (0, 1)), (10, 0.31, 0.5, (2, 2)), (10, 0.31, 1, (3, 1)), (3, 1, 0.5, (1, 2))],
)
def test_one_feature_at_least_is_random(features, rho, share, ranks):
    """⌈ρN⌉ features, never 0 and never all principal, which would be biased."""
    assert PrincipalAndRandom(rho, share).ranks(features) == ranks


def test_work_is_counted():
    """A counter of work sees Z, and the step of subspace iteration: 2·B·N·(r₁ + r₂ + r₁)."""
    layer = layer_of(nn.Linear(24, 16))
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        layer(torch.randn(20, 24))
    assert counter.get_total_flops() == 2 * 20 * 24 * (16 + 8 + 4)
