"""Where a part of the gradient is exact, the watch tells the noise of what that part leaves."""

import pytest
import torch
from torch import nn

import rmmbench
from rmmbench.measures.gradient.drawing import draw_noise
from rmmbench.measures.gradient.watching import NoiseWatch
from rmmbench.nn.analysis.layer_variance import layer_variance

DRAWS = 150


@pytest.fixture(autouse=True)
def _alike(one_thread):
    """Let every test here compute on one thread, from the same seeds."""
    torch.manual_seed(0)
    rmmbench.manual_seed(0)


def rows(count=60, features=70):
    """Return rows that have most in common."""
    return torch.randn(count, features) + 2 * torch.randn(features)


def watched(model, x, y, capture=None):
    """Return the noise of each layer in one step, and what was captured."""
    with NoiseWatch(model, "*") as watch:
        if capture is not None:
            watch.capture(capture, 1)
        model(x).backward(y)
        return {noise.layer: noise for noise in watch.collect(1)}, watch.captured


@pytest.mark.parametrize(
    "settings",
    [
        {"sketch": "oporp", "rho": 0.5},
        {"sketch": "norm-rows", "rho": 0.5, "bits": 8},
        {"sketch": "householder", "rho": 0.8, "bits": 4},
        {"rho": 1, "bits": 2},
    ],
    ids=str,
)
def test_noise_is_that_of_the_layer(settings):
    """The squared error of the layer's own gradients has the mean that the watch tells of a step.

    Within four standard errors; what rounding adds to a sketch is an estimate, to a few percent.
    """
    x, y, layer = rows(), torch.randn(60, 5), nn.Linear(70, 5)
    model = rmmbench.convert(nn.Sequential(layer), principal=2, **settings)
    for _ in range(3):
        model(x)
    basis, errors = layer.basis.clone(), []
    noise = watched(model, x, y)[0]["0"]
    for _ in range(DRAWS):
        layer.basis.copy_(basis)
        layer.weight.grad = None
        model(x).backward(y)
        errors.append((layer.weight.grad - y.T @ x).square().sum())
    sketch = settings.get("sketch", "gaussian")
    told, errors = noise.variances[sketch], torch.stack(errors)
    slack = 0.05 if "bits" in settings and "sketch" in settings else 0.001
    spread = float(errors.std()) / DRAWS**0.5
    assert abs(float(errors.mean()) - told) <= 4 * spread + slack * told
    assert noise.principal == 2
    # The sums are of all that the layer reads, so they tell more.
    assert told < 0.8 * layer_variance(noise, sketch, noise.proj_dim, noise.bits)


def test_layers_that_share_have_one_noise():
    """A layer that reads what another has sketched has the other's directions."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = nn.Linear(70, 16), nn.Linear(70, 16)

        def forward(self, x):
            return self.q(x) + self.k(x)

    x, y = rows(), torch.randn(60, 16)
    model = rmmbench.convert(Two(), sketch="oporp", rho=0.5, principal=2)
    for _ in range(3):
        model(x)
    noise, _ = watched(model, x, y)
    assert noise["q"].variances == pytest.approx(noise["k"].variances)


@pytest.mark.parametrize("sketch", ["oporp", "norm-rows"])
def test_draws_are_of_the_rest_too(sketch):
    """What is drawn meets the closed form, beside the whole gradient's size."""
    x, y = rows(), torch.randn(60, 5)
    model = rmmbench.convert(nn.Sequential(nn.Linear(70, 5)), sketch=sketch, rho=0.5, principal=2)
    for _ in range(3):
        model(x)
    noise, point = watched(model, x, y, capture="0")
    (drawn,) = draw_noise(point, names=[sketch], rates=[0.5])
    assert drawn.predicted == pytest.approx(noise["0"].variances[sketch], rel=1e-4)
    assert abs(drawn.measured - drawn.predicted) <= 4 * drawn.standard_error
    assert drawn.exact == pytest.approx(noise["0"].g, rel=1e-4)


def test_a_layer_that_is_exact_again_has_no_part():
    """The basis of an earlier call is forgotten with its setting."""
    x, y = rows(), torch.randn(60, 5)
    model = rmmbench.convert(nn.Sequential(nn.Linear(70, 5)), sketch="oporp", rho=0.5, principal=2)
    with NoiseWatch(model, "*") as watch:
        with torch.no_grad():
            model(x)
        rmmbench.update(model, principal=None)
        model(x).backward(y)
        (noise,) = watch.collect(1)
    assert noise.principal is None
    assert noise.variances["oporp"] == pytest.approx(
        layer_variance(noise, "oporp", noise.proj_dim, None)
    )
