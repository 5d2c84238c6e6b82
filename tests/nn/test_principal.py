"""The exact part in principal features: the gradient's mean and spread, and what is kept."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)
from torch.utils.flop_counter import FlopCounterMode

import rmmbench
from rmmbench import sketches
from rmmbench.kernels.rounding import restored, rounding_variance
from rmmbench.nn.principal import orthonormal, split_flops, split_off

pytestmark = pytest.mark.usefixtures("fresh")

SETTINGS = [
    {"sketch": "oporp", "rho": 0.4},
    {"sketch": "householder", "rho": 0.8, "bits": 4},
    {"sketch": "norm-rows", "rho": 0.5, "bits": 8},
    {"bits": 2},
]

each_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)


def layer_of(linear, **settings):
    """Return a linear layer, converted, with two principal features unless told otherwise."""
    rmmbench.convert(nn.Sequential(linear), **{"principal": 2, **settings})
    return linear


def check_mean(found, exact):
    """Assert that the mean lies along the exact gradient at length 1, and that noise would not."""
    shares = (found * exact).sum((1, 2)) / exact.square().sum()
    error = float(shares.std()) / len(found) ** 0.5
    assert error < 0.08
    assert abs(float(shares.mean()) - 1) < 5 * error


@pytest.mark.parametrize("bits", [0, 8, 2])
@pytest.mark.parametrize("sketch", ["", "oporp", "householder"])
def test_noise_is_that_of_the_rest(sketch, bits):
    """The squared error has the closed form of the rest R, to four standard errors."""
    x, y, basis = torch.randn(60, 70), torch.randn(60, 5), torch.randn(70, 3)
    exact, errors, of_rounding, proj_dim = y.T @ x, [], [], 42 if sketch else 60
    for number in range(300):
        seed = torch.tensor(number)
        c, v, kept, ends, key, _ = split_off(x, proj_dim, sketch, bits, seed, basis)
        inside = (c.float(), v.float())
        y_proj, rest = y, x - inside[0] @ inside[1].T
        if sketch:
            y_proj = sketches.get(sketch).project(y, proj_dim, key)
            rest = sketches.get(sketch).project(rest, proj_dim, key)
        if bits:
            of_rounding.append(rounding_variance(rest, y_proj, bits))
            kept = restored(kept, ends, 70, bits, torch.float32)
        estimate = y.T @ inside[0] @ inside[1].T + y_proj.T @ kept
        errors.append((estimate - exact).square().sum())
    expected = sum(of_rounding) / 300
    if sketch:
        chosen, whole_rest = sketches.get(sketch), x - inside[0] @ inside[1].T
        expected += chosen.variance(chosen.moments(whole_rest, y), 60, proj_dim)
    errors = torch.stack(errors)
    spread = float(errors.std()) / 300**0.5
    assert abs(float(errors.mean()) - expected) < 4 * spread + 1e-6


@each_setting
def test_the_basis_follows_the_principal_features(settings, gradients_of):
    """Of an input of two directions all is exact after some calls."""
    x, y = torch.randn(60, 2) @ torch.randn(2, 24), torch.randn(60, 16)
    layer, exact = layer_of(nn.Linear(24, 16), **settings), y.T @ x
    found = gradients_of(layer, x, y, 12)
    error = (found - exact).norm(dim=(1, 2)) / exact.norm()
    assert float(error[0]) > 0.05
    assert float(error[-1]) < 0.01


def test_directions_are_orthonormal_whatever_the_basis():
    """Those of the basis if it has them; the first features where it has not."""
    basis = torch.randn(20, 4) * torch.tensor([1e9, 1.0, 1e-9, 0.0])
    found = orthonormal(basis)
    torch.testing.assert_close(found.T @ found, torch.eye(4), atol=1e-5, rtol=0)
    part = found[:, :3] @ found[:, :3].T @ basis[:, :3]
    torch.testing.assert_close(
        part / part.norm(dim=0), basis[:, :3] / basis[:, :3].norm(dim=0), atol=1e-3, rtol=0
    )
    for bad in (0.0, float("nan"), float("inf")):
        torch.testing.assert_close(orthonormal(torch.full((20, 4), bad)), torch.eye(20, 4))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_an_overflow_leaves_the_basis(value):
    """After a batch that is not finite the basis is what it was."""
    layer = layer_of(nn.Linear(24, 16), sketch="oporp", rho=0.5)
    layer(torch.randn(20, 24))
    before = layer.basis.clone()
    layer(torch.full((20, 24), value))
    assert torch.equal(layer.basis, before)


def kept_of(names):
    """Return what checkpoints and keeps the results of some operators."""

    def decide(context, operator, *args, **kwargs):
        keep = operator.name().partition(".")[0] in names
        return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.MUST_RECOMPUTE

    contexts = partial(create_selective_checkpoint_contexts, decide)
    return lambda layer: partial(checkpoint, layer, use_reentrant=False, context_fn=contexts)


RUNS = {
    "keeping the sketch": kept_of({"rmmbench::principal_sketch"}),
    "keeping products": kept_of({"aten::mm", "aten::addmm"}),
    "aot_eager": partial(torch.compile, backend="aot_eager", fullgraph=True),
}


@pytest.mark.parametrize(
    ("run", "settings"),
    [("keeping the sketch", SETTINGS[0]), *((run, SETTINGS[3]) for run in RUNS)],
)
def test_other_ways_to_run_give_no_noise(run, settings, gradients_of):
    """Computed again or compiled, what is multiplied is what was kept together; without S too."""
    layer = layer_of(nn.Linear(24, 16), **settings)
    x, y = torch.randn(40, 24, requires_grad=True), torch.randn(40, 16)
    found = gradients_of(layer, x, y, 60, RUNS[run](layer))
    check_mean(found, y.T @ x.detach())
    assert not torch.equal(layer.basis, torch.eye(24, 2))


def test_autocast(gradients_of):
    """Under autocast the gradient is unbiased, and in the parameters' dtype."""
    layer = layer_of(nn.Linear(24, 16), sketch="oporp", rho=0.5, bits=4)
    x, y = torch.randn(40, 24), torch.randn(40, 16)
    run = torch.autocast("cpu", dtype=torch.bfloat16)(layer)
    found = gradients_of(layer, x, y, 60, lambda x: run(x).float())
    assert found.dtype == torch.float32
    check_mean(found, y.T @ x)


def test_layers_share_what_they_keep(saved_storages, gradients_of):
    """Layers that read one tensor keep one sketch and one exact part, and are right."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = nn.Linear(24, 16), nn.Linear(24, 16)

        def forward(self, x):
            return self.q(x) + self.k(x)

    x, y, kept = torch.randn(40, 24), torch.randn(40, 16), []
    for share in (True, False):
        model = rmmbench.convert(Two(), sketch="oporp", rho=0.5, principal=2, share=share)
        with saved_storages(model) as saved:
            model(x)
        kept.append(saved.total_bytes())
        for layer in (model.q, model.k):
            check_mean(gradients_of(layer, x, y, 100, model), y.T @ x)
    assert kept[1] == 2 * kept[0]


def test_the_basis_comes_and_goes():
    """It is no part of the state dict, stays with other settings, and goes with the sketch."""
    layer = nn.Linear(24, 16)
    model = rmmbench.convert(nn.Sequential(layer), rho=0.5, principal=2)
    model(torch.randn(20, 24))
    assert list(layer.state_dict()) == ["weight", "bias"]
    before = layer.basis
    rmmbench.update(model, rho=0.3)
    assert layer.basis is before
    rmmbench.update(model, principal=30)
    assert layer.basis.shape == (24, 24)
    rmmbench.update(model, principal=None)
    assert not hasattr(layer, "basis")
    rmmbench.update(model, principal=3)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        copied(torch.randn(20, 24)).sum().backward()
    rmmbench.unconvert(model)
    assert not list(model.buffers())
    alone = rmmbench.RMMLinear.from_linear(layer, rho=0.5, principal=3)
    assert alone.basis.shape == (24, 3)
    alone(torch.randn(20, 24)).sum().backward()


@each_setting
def test_work_is_counted(settings):
    """A counter of work sees the products with the basis, and of what is kept."""
    layer = layer_of(nn.Linear(24, 16), **settings)
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(40, 24))
    counted = counter.get_flop_counts()["Global"][torch.ops.rmmbench.principal_sketch]
    proj_dim, sketch, _, principal = layer.settings.keeping(torch.Size([40, 24]))
    assert counted == split_flops(40, 24, principal, proj_dim, sketch)


@pytest.mark.parametrize(
    ("principal", "error", "message"),
    [
        (0, ValueError, "principal must be at least 1 or None, got 0"),
        (1.5, TypeError, "principal must be a whole number, got 1.5"),
    ],
)
def test_wrong_numbers_are_told(principal, error, message):
    """What must hold and what was given is said."""
    with pytest.raises(error, match=message):
        rmmbench.RMMLinear(24, 16, rho=0.5, principal=principal)


def test_a_function_has_no_basis():
    """rmm_linear says what to use instead."""
    x, weight = torch.randn(20, 24), torch.randn(16, 24, requires_grad=True)
    with pytest.raises(TypeError, match=r"must be a setting of a layer.*use RMMLinear or convert"):
        rmmbench.rmm_linear(x, weight, rho=0.5, principal=2)
