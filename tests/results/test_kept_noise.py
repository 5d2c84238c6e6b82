"""When the noise of a way of keeping X is harmless, on an example that can be worked out."""

import pytest
import torch

from rmmbench.results.kept_noise import FREE_STEPS, KeptNoise
from rmmbench.results.layer_sums import variance_of_sum


def kept(**changes):
    """Return a way on a batch of 10: true ‖G‖² 4, SGD's noise 2, a sketch's 6."""
    of = {"sketch": "oporp", "rho": 0.1, "bits": None, "bytes_ratio": 0.1, "layers": 1}
    return KeptNoise(
        **(of | {"samples": 10, "variance": 6.0, "sgd": 2.0, "gradient": 6.0} | changes)
    )


def test_noise_scale_and_rule():
    """B_simple = 10 · 2/4 = 5; inflation 4 is free from 5 · (3/0.1 − 1) = 145 samples on."""
    way = kept()
    assert (way.inflation, way.relative) == (4, 1)
    assert way.noise_scale == 5
    assert way.steps_ratio(10) == pytest.approx(1 + 3 / 3)
    assert way.free_batch_size == 145
    assert way.steps_ratio(145) == pytest.approx(FREE_STEPS)
    assert way.steps_ratio(144) > FREE_STEPS


def test_little_noise_is_free_at_any_batch():
    """An inflation of at most 1.1 needs no noise scale."""
    assert kept(variance=0.2).free_batch_size == 1
    assert kept(variance=0.2, gradient=1.0).free_batch_size == 1


def test_a_gradient_below_its_noise_tells_no_scale():
    """Where the mean of ‖G‖² is no more than SGD's noise, nothing is made up."""
    way = kept(gradient=2.0)
    assert (way.noise_scale, way.free_batch_size, way.steps_ratio(10)) == (None, None, None)
    still = kept(sgd=0.0, gradient=0.0, variance=0.0)
    assert (still.inflation, still.relative, still.free_batch_size) == (None, None, None)


def test_words():
    """A way is named by what is kept."""
    assert kept(bits=8, rho=0.4).words == "oporp ρ=0.4, 8 bits"
    assert kept(sketch=None, rho=1.0, bits=4).words == "every row, 4 bits"


def test_the_rule_on_a_quadratic_loss():
    """On ½‖θ‖² with noisy samples the best step's progress, by brute force, follows the rule."""
    random = torch.Generator().manual_seed(0)
    theta, spread, infl = torch.ones(8, dtype=torch.float64), 2.0, 4.0
    trace, square = 8 * spread**2, theta.square().sum().item()
    scale = trace / square
    for batch in (4, 64):
        progress = []
        for noise_times in (1.0, infl):
            errors = torch.randn(100_000, 8, generator=random, dtype=torch.float64)
            gradients = theta + errors * spread * (noise_times / batch) ** 0.5
            rates = torch.linspace(0.01, 1, 200, dtype=torch.float64)
            # E½‖θ − εĝ‖² = ½‖θ‖² − ε θ·E[ĝ] + ½ε² E‖ĝ‖²
            gain = rates * (gradients @ theta).mean()
            gain -= rates**2 * gradients.square().sum(1).mean() / 2
            progress.append(gain.max().item())
        way = kept(samples=batch, sgd=trace * batch, variance=(infl - 1) * trace * batch)
        way = way.model_copy(update={"gradient": square * batch**2 + trace * batch})
        assert way.noise_scale == pytest.approx(scale)
        assert progress[0] / progress[1] == pytest.approx(way.steps_ratio(batch), rel=0.03)


def test_the_noise_scale_of_samples():
    """The estimate from batches of samples finds tr Σ ÷ ‖G‖² of the samples' distribution."""
    random = torch.Generator().manual_seed(1)
    true, spread, batch = torch.full((6,), 0.5, dtype=torch.float64), 1.5, 20
    sgd, gradient = 0.0, 0.0
    for _ in range(2000):
        samples = true + spread * torch.randn(batch, 6, generator=random, dtype=torch.float64)
        square = samples.sum(0).square().sum().item()
        gradient += square / 2000
        sgd += variance_of_sum(batch, samples.square().sum().item(), square) / 2000
    way = kept(samples=batch, sgd=sgd, gradient=gradient)
    assert way.noise_scale == pytest.approx(6 * spread**2 / (6 * 0.5**2), rel=0.05)
