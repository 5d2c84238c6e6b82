"""The gradient error is what it says, and nothing of the model changes by asking for it."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn

import rmmbench
from rmmbench.measures.gradient.error import (
    _weight_gradients,
    measure_gradient_error,
    measure_sgd_noise,
)
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.nn import exact_layers

ROWS, RHO, DRAWS = 64, 0.5, 200


class OneLayer(nn.Module):
    """A linear layer with dropout before it, trained towards 0."""

    def __init__(self):
        """Make the layer."""
        super().__init__()
        self.drop = nn.Dropout(0.3)
        self.layer = nn.Linear(12, 6)

    def forward(self, x):
        """Return the mean square of what the layer makes of `x`."""
        return self.layer(self.drop(x)).square().mean()


def step_of(sketch=None):
    """Return a training step of the layer, sketched or not."""
    torch.manual_seed(0)
    rmmbench.manual_seed(0)
    model = OneLayer()
    batch = {"x": torch.randn(ROWS, 12)}
    if sketch is not None:
        rmmbench.convert(model, sketch=sketch, rho=RHO)
    return TrainingStep(model, batch, make_optimizer("adam", model.parameters(), foreach=False))


def test_an_exact_model_has_no_error():
    """Dropout is drawn alike, so that two exact gradients differ by rounding at most."""
    found = measure_gradient_error(step_of(), nullcontext, 3, seed=1)
    assert (len(found.errors), found.device) == (3, "cpu")
    assert max(*found.errors, found.mean_error, found.error, found.spread) < 1e-6


def test_the_error_of_a_sketch_has_the_closed_forms_size():
    """The mean of squared errors is D² ÷ ‖G‖² within 5 standard errors; means of draws shrink."""
    step = step_of("rademacher")
    found = measure_gradient_error(step, lambda: exact_layers(step.model), DRAWS, seed=1)
    torch.manual_seed(1)
    x = step.model.drop(step.batch["x"])
    y = 2 * step.model.layer(x).detach() / (ROWS * 6)
    gram = (y.T @ x).square().sum()
    rows = (x.square().sum(1) * y.square().sum(1)).sum()
    whole = x.square().sum() * y.square().sum()
    expected = float((whole + gram - 2 * rows) / (RHO * ROWS) / gram)
    squares = torch.tensor(found.errors).square()
    assert abs(squares.mean() - expected) < 5 * squares.std() / DRAWS**0.5
    assert found.spread > 0
    # The mean of n unbiased draws has an error of n^−½ of one; of ten such, 5 standard errors.
    assert 0.3 < found.mean_error * DRAWS**0.5 / expected**0.5 < 2.5


def test_how_many_times_as_noisy():
    """Noise inflation is 1 + D² ÷ D²_SGD: of sampled rows, which are the samples here, 1/ρ."""
    step = step_of("rows")
    exact = partial(exact_layers, step.model)
    found = measure_gradient_error(step, exact, DRAWS, seed=1)
    found = found.model_copy(update={"sgd": measure_sgd_noise(step, exact, seed=1)})
    squares = torch.tensor(found.errors).square()
    slack = 5 * (squares.std() / squares.mean()).item() / DRAWS**0.5
    assert found.inflation - 1 == pytest.approx((1 - RHO) / RHO, rel=slack)


def test_a_batch_of_one_sample_has_no_noise_to_compare_with():
    """What cannot be told is said, not made up."""
    step = step_of()
    step.batch["x"] = step.batch["x"][:1]
    with pytest.raises(ValueError, match="two samples at least"):
        measure_sgd_noise(step, nullcontext, seed=1)
    assert measure_gradient_error(step, nullcontext, 2, seed=1).inflation is None


def test_every_draw_is_another():
    """The error's spread is of the method's own draws."""
    step = step_of("oporp")
    found = measure_gradient_error(step, lambda: exact_layers(step.model), 4, seed=1)
    assert len(set(found.errors)) == 4


def test_nothing_stays_changed():
    """Parameters keep their values, and no gradient is left behind."""
    step = step_of("oporp")
    before = {name: value.clone() for name, value in step.model.state_dict().items()}
    measure_gradient_error(step, lambda: exact_layers(step.model), 2, seed=1)
    torch.testing.assert_close(step.model.state_dict(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in step.model.parameters())


def test_gradients_leave_the_device_one_by_one():
    """While a layer is compared those before it have no gradient any more, and none is left."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1))
    batch = {"input": torch.ones(3, 8)}
    optimizer = make_optimizer("adam", model.parameters(), foreach=False)
    weights = [layer.weight for layer in model]
    # The mean of what it returns is its loss.
    model.register_forward_hook(lambda *args: args[-1].mean())
    held = [
        [weight.grad is not None for weight in weights]
        for gradient, _ in _weight_gradients(TrainingStep(model, batch, optimizer), seed=1)
        if gradient.device.type == "cpu"
    ]
    assert held == [[True, True, True], [False, True, True], [False, False, True]]
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.cuda
def test_a_comparison_takes_no_more_of_a_gpu_than_a_step():
    """Copies of the gradients are on the host: the device's peak is that of the training step."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(8))).cuda()
    model.register_forward_hook(lambda *args: args[-1].square().mean())
    batch = {"input": torch.ones(64, 1024, device="cuda")}
    step = TrainingStep(model, batch, make_optimizer("adam", model.parameters(), foreach=True))
    step()
    torch.cuda.reset_peak_memory_stats()
    step()
    highest = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    found = measure_gradient_error(step, nullcontext, 3, seed=1)
    assert found.device == "cuda"
    assert torch.cuda.max_memory_allocated() <= highest


def test_without_a_gradient_there_is_nothing_to_compare():
    """A loss that no weight has a part in is told, rather than divided by."""
    step = step_of()
    step.batch["x"].zero_()
    nn.init.zeros_(step.model.layer.bias)
    with pytest.raises(ValueError, match="must have a gradient to compare with, and it is 0"):
        measure_gradient_error(step, nullcontext, 2, seed=1)
