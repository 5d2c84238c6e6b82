"""Gradients must not be noise: ⟨E[∂W], exact⟩ / ‖exact‖² is 1 in every way of running the layer.

Where the backward pass meets another S than the forward pass drew, the ratio is 0 and nothing else
shows it. Each test draws often enough that 0 would be ten standard errors away. Of the model's two
attention-like blocks, below its root, the first shares one sketch between its three layers, and the
second does not.
"""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
import torch._dynamo
import torch._functorch.config
from torch import nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

import rmmbench
from rmmbench import sketches
from rmmbench.nn import functional, ops

pytestmark = pytest.mark.usefixtures("fresh")

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
DRAWS = 36

KEPT = {name: {"sketch": name, "rho": 0.4} for name in sketches.names()} | {
    "oporp in 8 bits": {"sketch": "oporp", "rho": 0.4, "bits": 8},
    "gaussian in 2 bits": {"sketch": "gaussian", "rho": 0.4, "bits": 2},
    "norm-rows in 4 bits": {"sketch": "norm-rows", "rho": 0.4, "bits": 4},
    "2 bits": {"bits": 2},
}
"""Settings of what is kept, by name; the last keeps the input itself."""

every_sketch = pytest.mark.parametrize("sketch", KEPT)
oporp_and_bits = pytest.mark.parametrize("sketch", ["oporp", "oporp in 8 bits", "2 bits"])
every_device = pytest.mark.parametrize("device", DEVICES)
every_budget = pytest.mark.parametrize("budget", [1.0, 0.5, 0.0])


class Block(nn.Module):
    """Three layers that read one tensor, and what a compiler may compute again."""

    def __init__(self, in_features, out_features):
        """Make the layers."""
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(in_features, out_features) for _ in range(3))

    def forward(self, x):
        """Return a sum that is another function of each."""
        return torch.tanh(self.q(x)) + torch.sin(self.k(x)) + self.v(x)


def compiled(**options):
    """Return what runs a model compiled, once for all draws."""
    models = []

    def run(model, x):
        if not models:
            models.append(torch.compile(model, fullgraph=True, **options))
        return models[0](x)

    return run


def ratios(sketch, device, run, around=nullcontext, block=Block, **settings):
    """Return ⟨∂W, exact⟩ / ‖exact‖² of each draw and each of the six layers."""
    model = nn.Sequential(block(24, 16), block(16, 8)).to(device)
    weights = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)]
    # Rows and their gradients lie near one direction, half of them opposite: then the noise is
    # small, and sums of rows are 0, of which another choice of rows would give no noise.
    signs = torch.tensor([1.0, -1.0]).repeat(32)[torch.randperm(64)].view(8, 8, 1).to(device)
    x = signs * torch.randn(24, device=device) + 0.3 * torch.randn(8, 8, 24, device=device)
    target = 3 * signs * torch.randn(8, device=device)

    def gradients(run):
        for weight in weights:
            weight.grad = None
        with around():
            loss = (run(model, x).float() - target).square().mean()
        loss.backward()
        return [weight.grad.double() for weight in weights]

    exact = gradients(lambda model, x: model(x))
    rmmbench.convert(model, **KEPT[sketch], include="0.*", **settings)
    rmmbench.convert(model, **KEPT[sketch], include="1.*", share=False, **settings)
    along = [
        [
            ((g * e).sum() / e.square().sum()).item()
            for g, e in zip(gradients(run), exact, strict=True)
        ]
        for _ in range(DRAWS)
    ]
    return torch.tensor(along)


def check_ratio(sketch, device, run, around=nullcontext, slack=0.0, **settings):
    """Assert that the mean gradient of each layer lies along the exact one, at length 1."""
    along = ratios(sketch, device, run, around, **settings)
    standard_error = along.std(0) / DRAWS**0.5
    assert bool((standard_error < 0.1).all()), standard_error
    assert bool(((along.mean(0) - 1).abs() <= 5 * standard_error + slack).all()), along.mean(0)


@pytest.mark.parametrize("sketch", [name for name, kept in KEPT.items() if "sketch" in kept])
def test_noise_would_be_seen(sketch, monkeypatch):
    """Were S drawn again in the backward pass, the ratio of every layer would be near 0."""
    project_and_sum = ops.project_and_sum

    def drawn_again(y, *sketch_and_key):
        *sketch, _ = sketch_and_key
        return project_and_sum(y, *sketch, ops.sketch(y, *sketch, None, None, None)[1])

    monkeypatch.setattr(functional.ops, "project_and_sum", drawn_again)
    along = ratios(sketch, "cpu", lambda model, x: model(x))
    assert bool((along.mean(0).abs() < 0.25).all()), along.mean(0)


@every_sketch
@every_device
def test_eager(sketch, device):
    """Plain calls."""
    check_ratio(sketch, device, lambda model, x: model(x))


@pytest.mark.parametrize("sketch", ["gaussian", "rademacher"])
def test_eager_in_blocks(sketch):
    """Plain calls, with an S of several blocks."""
    check_ratio(sketch, "cpu", lambda model, x: model(x), block_rows=16)


@every_sketch
@every_device
def test_compiled(sketch, device):
    """torch.compile as it comes, in one graph."""
    check_ratio(sketch, device, compiled())


@pytest.mark.parametrize("budget", [0.5, 0.0])
def test_compiled_within_a_budget(budget):
    """torch.compile, told to keep less."""
    with torch._functorch.config.patch(activation_memory_budget=budget):
        check_ratio("gaussian", "cpu", compiled())


@every_sketch
@every_device
@every_budget
def test_partitioned(sketch, device, budget):
    """torch.compile's partitioner, whatever it chooses to compute again."""
    with torch._functorch.config.patch(activation_memory_budget=budget):
        check_ratio(sketch, device, compiled(backend="aot_eager_decomp_partition"))


@pytest.mark.parametrize(
    ("sketch", "backend"),
    [(sketch, "aot_eager_decomp_partition") for sketch in (*sketches.names(), "oporp in 8 bits")]
    + [("gaussian", "aot_eager"), ("kronecker", "aot_eager")],
)
def test_compiled_with_dynamic_shapes(sketch, backend):
    """torch.compile with symbolic sizes, where proj_dim is an expression."""
    run = compiled(dynamic=True, backend=backend)

    def run_both(model, x):
        run(model, torch.randn(6, 8, 24))
        return run(model, x)

    check_ratio(sketch, "cpu", run_both)


@every_sketch
@every_device
@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("preserve_rng_state", [True, False])
def test_checkpointed(sketch, device, use_reentrant, preserve_rng_state):
    """Activation checkpointing, in both modes, with the generator's state kept or not."""
    settings = {"use_reentrant": use_reentrant, "preserve_rng_state": preserve_rng_state}
    check_ratio(sketch, device, lambda model, x: checkpoint(model, x.requires_grad_(), **settings))


@every_sketch
@every_device
def test_compiled_around_a_checkpoint(sketch, device):
    """torch.compile of a function that checkpoints its blocks."""

    def run(model, x):
        return checkpoint(
            model[1], checkpoint(model[0], x, use_reentrant=False), use_reentrant=False
        )

    function = torch.compile(run, fullgraph=True, backend="aot_eager_decomp_partition")
    check_ratio(sketch, device, function)


def names_of(op):
    """Return the name of an operator, and its last part without the overload."""
    return {op.name(), op.name().rpartition("::")[2].partition(".")[0]}


POLICIES = {
    "sketch": {"rmmbench::sketch", "rmmbench::sketch_in_bits"},
    "not the sketch": {"addmm", "tanh", "sin", "detach", "_to_copy", "view", "add"},
    "products": {"mm", "addmm"},
    "everything": None,
    "nothing": set(),
}


def selectively(kept, strictly):
    """Return what checkpoints with a policy that keeps the results of some operators."""
    keep, drop = (
        (CheckpointPolicy.MUST_SAVE, CheckpointPolicy.MUST_RECOMPUTE)
        if strictly
        else (CheckpointPolicy.PREFER_SAVE, CheckpointPolicy.PREFER_RECOMPUTE)
    )

    def decide(context, op, *args, **kwargs):
        return keep if kept is None or names_of(op) & kept else drop

    contexts = partial(create_selective_checkpoint_contexts, decide)
    return partial(checkpoint, use_reentrant=False, context_fn=contexts)


class PartlyCheckpointed(Block):
    """A block that computes two of its three layers again."""

    first, run = "q", staticmethod(checkpoint)

    def forward(self, x):
        """Return what Block does; q is called before the others, or after them."""
        if self.first == "q":
            q = self.q(x)
        rest = self.run(lambda x: torch.sin(self.k(x)) + self.v(x), x)
        return torch.tanh(q if self.first == "q" else self.q(x)) + rest


every_policy = pytest.mark.parametrize("kept", POLICIES.values(), ids=POLICIES)


@every_policy
@every_device
@oporp_and_bits
@pytest.mark.parametrize("strictly", [True, False])
def test_selectively_checkpointed(kept, device, sketch, strictly):
    """A user's policy, whatever it keeps: S and what was made with it are not parted."""
    run = selectively(kept, strictly)
    check_ratio(sketch, device, lambda model, x: run(model, x.requires_grad_()))


@every_policy
@oporp_and_bits
@pytest.mark.parametrize("first", ["q", "k"])
def test_selectively_checkpointed_within_a_module_that_shares(kept, sketch, first, monkeypatch):
    """Sharers outside of a checkpoint leave those within to be computed again by themselves."""
    monkeypatch.setattr(PartlyCheckpointed, "run", staticmethod(selectively(kept, True)))
    monkeypatch.setattr(PartlyCheckpointed, "first", first)
    check_ratio(sketch, "cpu", lambda model, x: model(x.requires_grad_()), block=PartlyCheckpointed)


@oporp_and_bits
@pytest.mark.parametrize("kept", ["sketch", "products"])
def test_compiled_around_a_selective_checkpoint(kept, sketch):
    """torch.compile of a function that checkpoints with a policy."""
    run = selectively(POLICIES[kept], True)
    function = torch.compile(
        lambda model, x: run(model[1], run(model[0], x)),
        fullgraph=True,
        backend="aot_eager_decomp_partition",
    )
    check_ratio(sketch, "cpu", function)


@every_sketch
@every_device
def test_saved_on_cpu(sketch, device):
    """What is saved moves to the CPU and back."""
    check_ratio(sketch, device, lambda model, x: model(x), around=save_on_cpu)


@every_sketch
@every_device
@pytest.mark.parametrize("is_compiled", [False, True])
def test_autocast(sketch, device, is_compiled):
    """Autocast to bfloat16, where what is kept is a cast copy."""
    run = compiled(backend="aot_eager") if is_compiled else lambda model, x: model(x)
    # Rounding to 8 bits of mantissa may shift the mean, too.
    around = partial(torch.autocast, device, dtype=torch.bfloat16)
    check_ratio(sketch, device, run, around, slack=0.01)
