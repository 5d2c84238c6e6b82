"""The clauses of the layer's contract, each by itself."""

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

import rmmbench
from rmmbench import RMMLinear, rmm_linear, sketches
from rmmbench.nn import ops
from rmmbench.nn.size import SketchSettings

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]

every_sketch = pytest.mark.parametrize("sketch", sketches.names())
every_device = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture
def draws(monkeypatch) -> list[str]:
    """Collect the name of every sketch that is drawn."""
    names: list[str] = []
    get = sketches.get

    def noted(name: str) -> sketches.Sketch:
        names.append(name)
        return get(name)

    monkeypatch.setattr(sketches, "get", noted)
    return names


def saved_by(function) -> list[Tensor]:
    """Return what autograd saves while `function` runs."""
    saved: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        output = function()
    del output
    return saved


@every_sketch
@every_device
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(63,), (4, 16), (2, 3, 5)])
def test_output_and_other_gradients_are_exact(
    sketch: str, device: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    """Output, input gradient and bias gradient equal nn.Linear's for any leading dimensions."""
    exact = nn.Linear(24, 16, device=device, dtype=dtype)
    layer = RMMLinear.from_linear(exact, sketch=sketch, rho=0.5)
    x = torch.randn(*shape, 24, device=device, dtype=dtype)
    y = torch.randn(*shape, 16, device=device, dtype=dtype)
    results = []
    for module in (exact, layer):
        inputs = x.clone().requires_grad_()
        exact.weight.grad = exact.bias.grad = None
        output = module(inputs)
        output.backward(y)
        results.append((output.detach(), inputs.grad, exact.bias.grad))
        assert exact.weight.grad.dtype == dtype
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected)


@every_sketch
def test_weight_gradient_is_the_sketched_product(sketch: str) -> None:
    """The weight gradient is (SᵀY)ᵀ(SᵀX) for the S that the seed names."""
    x, y = torch.randn(40, 6), torch.randn(40, 3)
    weight = torch.randn(3, 6, requires_grad=True)
    rmm_linear(x, weight, sketch=sketch, rho=0.25, seed=7).backward(y)
    s = sketches.get(sketch)
    torch.testing.assert_close(weight.grad, s.project(y, 10, 7).T @ s.project(x, 10, 7))


def test_saves_what_its_docstring_says() -> None:
    """proj_dim × in_features elements, one 8-byte seed, and the weight itself, no copy."""
    layer = RMMLinear(24, 16, rho=0.3)
    saved = saved_by(lambda: layer(torch.randn(5, 20, 24, requires_grad=True)))
    own = {layer.weight.data_ptr(), layer.bias.data_ptr()}
    kept = [tensor for tensor in saved if tensor.data_ptr() not in own]
    assert sum(tensor.untyped_storage().nbytes() for tensor in kept) == 30 * 24 * 4 + 8
    assert sum(tensor.data_ptr() == layer.weight.data_ptr() for tensor in saved) == 1


def test_seed_is_a_tensor_on_the_cpu() -> None:
    """The seed is saved as a CPU tensor, so that reading it never waits for a GPU."""
    layer = RMMLinear(24, 16, rho=0.3)
    saved = saved_by(lambda: layer(torch.randn(20, 24)))
    (seed,) = [tensor for tensor in saved if tensor.dtype == torch.int64]
    assert seed.shape == ()
    assert seed.device.type == "cpu"


@every_sketch
@every_device
def test_non_contiguous_input(sketch: str, device: str) -> None:
    """A transposed input gives what its contiguous copy gives."""
    weight = torch.randn(3, 6, device=device, requires_grad=True)
    x = torch.randn(6, 8, 5, device=device).permute(2, 1, 0)
    y = torch.randn(3, 8, 5, device=device).permute(2, 1, 0)
    gradients = []
    for inputs in (x, x.contiguous()):
        weight.grad = None
        rmm_linear(inputs, weight, sketch=sketch, rho=0.5, seed=1).backward(y)
        gradients.append(weight.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("shape", [(0, 24), (3, 0, 24), (24,)])
def test_empty_and_single_inputs(shape: tuple[int, ...], draws: list[str]) -> None:
    """An empty batch, or one row, takes the exact path."""
    layer = RMMLinear(24, 16, rho=0.5)
    output = layer(torch.randn(shape))
    assert output.shape == (*shape[:-1], 16)
    output.sum().backward()
    assert layer.weight.grad.shape == (16, 24)
    assert draws == []


def test_frozen_weight_keeps_nothing(draws: list[str]) -> None:
    """Without requires_grad of the weight neither input nor sketch is kept, and the bias trains."""
    layer = RMMLinear(24, 16, rho=0.5)
    layer.weight.requires_grad_(False)
    saved = saved_by(lambda: layer(torch.randn(20, 24, requires_grad=True)))
    assert [tensor.data_ptr() for tensor in saved] == [layer.weight.data_ptr()]
    layer(torch.randn(20, 24)).sum().backward()
    assert layer.bias.grad is not None
    assert draws == []


def test_eval_and_no_grad_draw_nothing(draws: list[str]) -> None:
    """Neither eval mode nor no_grad draws a sketch; training does, forward and backward."""
    layer, x = RMMLinear(24, 16, rho=0.5), torch.randn(20, 24)
    layer.eval()(x)
    with torch.no_grad():
        layer.train()(x)
    with torch.inference_mode():
        layer(x)
    assert draws == []
    layer(x).sum().backward()
    assert draws == ["gaussian", "gaussian"]


@pytest.mark.parametrize(
    "settings", [{"rho": 1.0}, {"proj_dim": 20}, {"rho": 0.1, "min_proj_dim": 30}]
)
def test_nothing_to_save_is_exact(settings: dict[str, float], draws: list[str]) -> None:
    """ρ = 1, or proj_dim of at least the rows, is nn.Linear to the last bit."""
    exact = nn.Linear(24, 16)
    layer = RMMLinear.from_linear(exact, **settings)
    x = torch.randn(20, 24)
    layer(x).square().sum().backward()
    found, layer.weight.grad = layer.weight.grad, None
    exact(x).square().sum().backward()
    assert torch.equal(found, exact.weight.grad)
    assert draws == []


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [
        (100, SketchSettings(rho=0.5), 50),
        (7, SketchSettings(rho=0.5), 4),
        (3, SketchSettings(rho=0.01), 1),
        (100, SketchSettings(rho=0.01, min_proj_dim=16), 16),
        (8, SketchSettings(rho=0.01, min_proj_dim=16), 8),
        (100, SketchSettings(rho=0.9, max_proj_dim=32), 32),
        (100, SketchSettings(proj_dim=64), 64),
        (50, SketchSettings(proj_dim=64), 50),
        (100, SketchSettings(proj_dim=64, max_proj_dim=32), 32),
        (0, SketchSettings(rho=0.5), 0),
    ],
)
def test_projection_dimension(rows: int, settings: SketchSettings, expected: int) -> None:
    """proj_dim = min(rows, clamp(ceil(rho · rows), min, max)), never 0 for a row."""
    assert settings.proj_dim_for(rows) == expected


@every_device
@pytest.mark.parametrize("is_trained", [True, False])
def test_autocast_dtypes(device: str, is_trained: bool) -> None:
    """Under autocast output and gradients have the dtypes that nn.Linear's have."""
    exact = nn.Linear(24, 16, device=device).requires_grad_(is_trained)
    layer = RMMLinear.from_linear(exact, rho=0.5)
    x = torch.randn(20, 24, device=device, requires_grad=True)
    with torch.autocast(device, dtype=torch.bfloat16):
        expected, output = exact(x), layer(x)
    assert output.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(output, expected)
    output.float().sum().backward()
    assert x.grad.dtype == torch.float32
    if is_trained:
        assert layer.weight.grad.dtype == layer.bias.grad.dtype == torch.float32


def test_noise_is_new_at_every_step() -> None:
    """Two steps draw two sketches: a noise that repeats would never average out."""
    layer, x = RMMLinear(24, 16, rho=0.2), torch.randn(20, 24)
    gradients = []
    for _ in range(2):
        layer.weight.grad = None
        layer(x).square().sum().backward()
        gradients.append(layer.weight.grad)
    assert not torch.allclose(*gradients)


def test_manual_seed_repeats() -> None:
    """rmmbench.manual_seed starts the sketches anew, and nothing touches torch's generator."""
    layer, x = RMMLinear(24, 16, rho=0.2), torch.randn(20, 24)
    state, gradients = torch.get_rng_state(), []
    for _ in range(2):
        rmmbench.manual_seed(3)
        layer.weight.grad = None
        layer(x).square().sum().backward()
        gradients.append(layer.weight.grad)
    assert torch.equal(*gradients)
    assert torch.equal(state, torch.get_rng_state())


def test_gradient_accumulation() -> None:
    """Two backward passes add up, each with its own sketch."""
    layer, x = RMMLinear(24, 16, rho=0.2), torch.randn(20, 24)
    rmmbench.manual_seed(3)
    parts = []
    for _ in range(2):
        layer.weight.grad = None
        layer(x).square().sum().backward()
        parts.append(layer.weight.grad)
    rmmbench.manual_seed(3)
    layer.weight.grad = None
    for _ in range(2):
        layer(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, parts[0] + parts[1])


def test_two_calls_before_backward() -> None:
    """Calls of one layer that await their backward passes do not mix up their sketches."""
    weight = torch.randn(3, 6, requires_grad=True)
    xs, y = [torch.randn(40, 6), torch.randn(40, 6)], torch.randn(40, 3)
    outputs = [rmm_linear(x, weight, rho=0.5, seed=seed) for seed, x in enumerate(xs)]
    (outputs[1] + outputs[0]).backward(y)
    s = sketches.get("gaussian")
    parts = [s.project(y, 20, i).T @ s.project(x, 20, i) for i, x in enumerate(xs)]
    torch.testing.assert_close(weight.grad, parts[0] + parts[1])


def test_double_backward_is_refused() -> None:
    """A gradient of a gradient would be an estimate of nothing: it is refused, with a way out."""
    layer, x = RMMLinear(24, 16, rho=0.5), torch.randn(20, 24)
    with pytest.raises(RuntimeError, match=r"no double backward.*use rho=1 or torch.nn.Linear"):
        torch.autograd.grad(layer(x).square().sum(), layer.weight, create_graph=True)


def test_state_dict_copy_and_pickle() -> None:
    """state_dict has nn.Linear's keys, and copies behave as the layer does."""
    layer = RMMLinear(24, 16, sketch="dct", rho=0.5)
    exact = nn.Linear(24, 16)
    exact.load_state_dict(layer.state_dict())
    layer.load_state_dict(exact.state_dict())
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert copied.settings == layer.settings
        assert torch.equal(copied.weight, layer.weight)
        copied(torch.randn(20, 24)).sum().backward()
        assert copied.weight.grad is not None
        assert layer.weight.grad is None


def test_from_linear_shares_the_parameters() -> None:
    """The parameters are the very same objects, and mode and bias-lessness are kept."""
    exact = nn.Linear(24, 16, bias=False).eval()
    layer = RMMLinear.from_linear(exact, rho=0.5)
    assert layer.weight is exact.weight
    assert layer.bias is None
    assert not layer.training
    with pytest.raises(TypeError, match=r"must be a torch.nn.Linear, got GELU"):
        RMMLinear.from_linear(nn.GELU(), rho=0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rho": 0.0}, r"rho must be in \(0, 1\], got 0.0"),
        ({"rho": 1.5}, r"rho must be in \(0, 1\], got 1.5"),
        ({"rho": math.nan}, r"rho must be in \(0, 1\], got nan"),
        ({}, "exactly one of rho and proj_dim must be given, got rho=None and proj_dim=None"),
        ({"rho": 0.5, "proj_dim": 3}, "exactly one of rho and proj_dim"),
        ({"proj_dim": 0}, "proj_dim must be at least 1, got 0"),
        ({"rho": 0.5, "min_proj_dim": 0}, "min_proj_dim must be at least 1, got 0"),
        ({"rho": 0.5, "min_proj_dim": 9, "max_proj_dim": 3}, r"at least min_proj_dim \(9\), got 3"),
        ({"rho": 0.5, "sketch": "fft"}, "no sketch named 'fft'"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    """Wrong settings are refused, with what was given, by function and layer alike."""
    with pytest.raises(ValueError, match=message):
        rmm_linear(torch.randn(20, 6), torch.randn(3, 6), **settings)
    with pytest.raises(ValueError, match=message):
        RMMLinear(6, 3, **settings)


def test_repr_tells_the_sketch() -> None:
    """Printing a model shows which layers are sketched and how."""
    assert "sketch=dct, rho=0.5" in repr(RMMLinear(24, 16, sketch="dct", rho=0.5))


@every_sketch
def test_operators_keep_torchs_rules(sketch: str) -> None:
    """Both operators pass torch's own checks of schema and fake implementation."""
    x, seed = torch.randn(30, 6), torch.tensor(5)
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(ops.sketch, (x, 10, sketch, seed), test_utils=checks)
    torch.library.opcheck(ops.project, (x, 10, sketch, seed), test_utils=checks)


def test_checkpointing_keeps_less() -> None:
    """Under checkpointing the sketch is not kept between the passes either."""
    layer = RMMLinear(24, 16, rho=0.5)
    x = torch.randn(20, 24, requires_grad=True)
    saved = saved_by(lambda: checkpoint(lambda x: F.gelu(layer(x)), x, use_reentrant=False))
    assert all(tensor.shape != (10, 24) for tensor in saved)
