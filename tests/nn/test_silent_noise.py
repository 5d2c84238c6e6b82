"""Gradients must not be noise: ⟨E[∂W], exact⟩ / ‖exact‖² is 1 in every way of running the layer.

Where the backward pass meets another S than the forward pass drew, the ratio is 0 and nothing else
shows it. Each test draws often enough that 0 would be ten standard errors away.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
import torch._dynamo
import torch._functorch.config
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

import rmmbench
from rmmbench import sketches

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
DRAWS = 150

every_sketch = pytest.mark.parametrize("sketch", sketches.names())
every_device = pytest.mark.parametrize("device", DEVICES)

Run = Callable[[nn.Module, Tensor], Tensor]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Begin with the same seeds and no compiled code."""
    torch.manual_seed(0)
    rmmbench.manual_seed(0)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def check_ratio(
    sketch: str,
    device: str,
    run: Run,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Assert that the mean gradient of both layers lies along the exact one, at length 1."""
    model = nn.Sequential(nn.Linear(24, 16), nn.GELU(), nn.Linear(16, 8)).to(device)
    x = torch.randn(4, 16, 24, device=device)
    weights = [model[0].weight, model[2].weight]

    def gradients(run: Run) -> list[Tensor]:
        for weight in weights:
            weight.grad = None
        with around():
            loss = run(model, x).float().square().mean()
        loss.backward()
        return [weight.grad.double() for weight in weights if weight.grad is not None]

    exact = gradients(lambda model, x: model(x))
    rmmbench.convert(model, sketch=sketch, rho=0.4)
    along = torch.tensor(
        [
            [
                ((g * e).sum() / e.square().sum()).item()
                for g, e in zip(gradients(run), exact, strict=True)
            ]
            for _ in range(DRAWS)
        ]
    )
    standard_error = along.std(0) / DRAWS**0.5
    assert bool((standard_error < 0.1).all()), standard_error
    # Rounding to 8 bits of mantissa may shift the mean, too.
    slack = 0 if dtype == torch.float32 else 0.01
    assert bool(((along.mean(0) - 1).abs() <= 5 * standard_error + slack).all()), along.mean(0)


@every_sketch
@every_device
def test_eager(sketch: str, device: str) -> None:
    """Plain calls."""
    check_ratio(sketch, device, lambda model, x: model(x))


@every_sketch
@every_device
@pytest.mark.parametrize("budget", [1.0, 0.5, 0.0])
def test_compiled(sketch: str, device: str, budget: float) -> None:
    """torch.compile in one graph, whatever its partitioner chooses to compute again."""
    compiled: list[Callable[[Tensor], Tensor]] = []

    def run(model: nn.Module, x: Tensor) -> Tensor:
        if not compiled:
            compiled.append(torch.compile(model, fullgraph=True))
        return compiled[0](x)

    with torch._functorch.config.patch(activation_memory_budget=budget):
        check_ratio(sketch, device, run)


@pytest.mark.parametrize("backend", ["aot_eager", "aot_eager_decomp_partition"])
@pytest.mark.parametrize("budget", [1.0, 0.5, 0.0])
def test_compiled_with_dynamic_shapes(backend: str, budget: float) -> None:
    """torch.compile with symbolic sizes, where proj_dim is an expression."""
    compiled: list[Callable[[Tensor], Tensor]] = []

    def run(model: nn.Module, x: Tensor) -> Tensor:
        if not compiled:
            compiled.append(torch.compile(model, fullgraph=True, dynamic=True, backend=backend))
            compiled[0](torch.randn(3, 16, 24))
        return compiled[0](x)

    with torch._functorch.config.patch(activation_memory_budget=budget):
        check_ratio("gaussian", "cpu", run)


@every_sketch
@every_device
@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("preserve_rng_state", [True, False])
def test_checkpointed(
    sketch: str, device: str, use_reentrant: bool, preserve_rng_state: bool
) -> None:
    """Activation checkpointing, in both modes, with the generator's state kept or not."""

    def run(model: nn.Module, x: Tensor) -> Tensor:
        settings = {"use_reentrant": use_reentrant, "preserve_rng_state": preserve_rng_state}
        output = checkpoint(model, x.requires_grad_(), **settings)
        assert isinstance(output, Tensor)
        return output

    check_ratio(sketch, device, run)


@every_sketch
@every_device
def test_saved_on_cpu(sketch: str, device: str) -> None:
    """What is saved moves to the CPU and back."""
    check_ratio(sketch, device, lambda model, x: model(x), around=save_on_cpu)


@every_sketch
@every_device
@pytest.mark.parametrize("is_compiled", [False, True])
def test_autocast(sketch: str, device: str, is_compiled: bool) -> None:
    """Autocast to bfloat16, where what is kept is a cast copy."""
    compiled: list[Callable[[Tensor], Tensor]] = []

    def run(model: nn.Module, x: Tensor) -> Tensor:
        if not compiled:
            options = {"fullgraph": True, "backend": "aot_eager"}
            compiled.append(torch.compile(model, **options) if is_compiled else model)
        return compiled[0](x)

    check_ratio(
        sketch,
        device,
        run,
        around=lambda: torch.autocast(device, dtype=torch.bfloat16),
        dtype=torch.bfloat16,
    )
