"""The clauses of the layer's contract, each by itself."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

import rmmbench
from rmmbench import RMMLinear, rmm_linear, sketches

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]

every_sketch = pytest.mark.parametrize("sketch", sketches.names())
every_device = pytest.mark.parametrize("device", DEVICES)


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
def test_output_and_other_gradients_are_exact(sketch, device, dtype, shape):
    """Output, input gradient and bias gradient equal nn.Linear's for any leading dimensions."""
    exact = nn.Linear(24, 16, device=device, dtype=dtype)
    # A matrix does not say what is a sequence.
    block_rows = 9 if sketch == "kronecker" and len(shape) == 1 else None
    layer = RMMLinear.from_linear(exact, sketch=sketch, rho=0.5, block_rows=block_rows)
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


@pytest.mark.parametrize(
    ("sketch", "block_rows"),
    [*((sketch, None) for sketch in sketches.names()), ("gaussian", 4), ("kronecker", 10)],
)
def test_weight_gradient_is_the_sketched_product(sketch, block_rows):
    """The weight gradient is (SᵀY)ᵀ(SᵀX) for the S that the seed names."""
    x, y = torch.randn(5, 8, 6), torch.randn(5, 8, 3)
    weight = torch.randn(3, 6, requires_grad=True)
    rmm_linear(x, weight, sketch=sketch, rho=0.25, block_rows=block_rows, seed=7).backward(y)
    x, y = x.view(40, 6), y.view(40, 3)
    in_blocks = 8 if (sketch, block_rows) == ("kronecker", None) else block_rows
    s = sketches.get(sketch, block_rows=in_blocks)
    proj_dim = s.size_from(40, 10)
    key = s.draw(x, proj_dim, torch.tensor(7))
    expected = s.project(y, proj_dim, key).T @ s.project(x, proj_dim, key)
    torch.testing.assert_close(weight.grad, expected)


@pytest.mark.parametrize(
    ("settings", "key_bytes"),
    [
        ({"sketch": "gaussian"}, 8),
        ({"sketch": "gaussian", "block_rows": 20}, 8),
        ({"sketch": "kronecker"}, 8),
        ({"sketch": "norm-rows"}, 30 * 16),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saves_what_its_docstring_says(settings, key_bytes, dtype):
    """proj_dim × in_features elements, the key of S, and the weight itself, no copy."""
    layer = RMMLinear(24, 16, rho=0.3, dtype=dtype, **settings)
    saved = saved_by(lambda: layer(torch.randn(5, 20, 24, requires_grad=True, dtype=dtype)))
    own = {layer.weight.data_ptr(), layer.bias.data_ptr()}
    kept = [tensor for tensor in saved if tensor.data_ptr() not in own]
    expected = 30 * 24 * dtype.itemsize + key_bytes
    assert sum(tensor.untyped_storage().nbytes() for tensor in kept) == expected
    assert sum(tensor.data_ptr() == layer.weight.data_ptr() for tensor in saved) == 1


@every_device
def test_seed_lives_where_the_input_does(device):
    """The seed is saved as a tensor on the input's device, so that nothing waits for a GPU."""
    layer = RMMLinear(24, 16, rho=0.3, device=device)
    saved = saved_by(lambda: layer(torch.randn(20, 24, device=device)))
    (seed,) = [tensor for tensor in saved if tensor.dtype == torch.int64]
    assert seed.shape == ()
    assert seed.device.type == device


@every_device
def test_seed_may_be_a_tensor(device):
    """A seed that is a tensor, on whichever device, is the number in it, and is not kept itself."""
    x, weight = torch.randn(20, 24, device=device), torch.randn(16, 24, device=device)
    gradients, seed = [], torch.tensor(7)
    for given in (7, seed, seed.to(device)):
        weight = weight.detach().requires_grad_()
        output = rmm_linear(x, weight, rho=0.5, seed=given)
        if given is seed:
            seed.add_(1)
        output.sum().backward()
        seed.fill_(7)
        gradients.append(weight.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])


def test_seed_must_be_an_integer():
    """A seed that is none is refused, by the sketch's own words."""
    for seed in ("7", 1.5, torch.tensor([1, 2])):
        with pytest.raises(TypeError, match="seed must be an integer or a tensor of one, got"):
            rmm_linear(torch.randn(20, 6), torch.randn(3, 6).requires_grad_(), rho=0.5, seed=seed)


@every_sketch
@every_device
def test_non_contiguous_input(sketch, device):
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


@every_sketch
@pytest.mark.parametrize("shape", [(0, 24), (3, 0, 24), (0, 3, 24), (24,), (1, 1, 24)])
def test_empty_and_single_inputs(sketch, shape, projections):
    """An empty batch, or one row, takes the exact path."""
    layer = RMMLinear(24, 16, sketch=sketch, rho=0.5)
    output = layer(torch.randn(shape))
    assert output.shape == (*shape[:-1], 16)
    output.sum().backward()
    assert layer.weight.grad.shape == (16, 24)
    assert projections == []


def test_frozen_weight_keeps_nothing(projections):
    """Without requires_grad of the weight neither input nor sketch is kept, and the bias trains."""
    layer = RMMLinear(24, 16, rho=0.5)
    layer.weight.requires_grad_(False)
    saved = saved_by(lambda: layer(torch.randn(20, 24, requires_grad=True)))
    assert [tensor.data_ptr() for tensor in saved] == [layer.weight.data_ptr()]
    layer(torch.randn(20, 24)).sum().backward()
    assert layer.bias.grad is not None
    assert projections == []


def test_eval_and_no_grad_draw_nothing(projections):
    """Neither eval mode nor no_grad draws a sketch; training does, forward and backward."""
    layer, x = RMMLinear(24, 16, rho=0.5), torch.randn(20, 24)
    layer.eval()(x)
    with torch.no_grad():
        layer.train()(x)
    with torch.inference_mode():
        layer(x)
    assert projections == []
    layer(x).sum().backward()
    assert projections == [(10, 24), (10, 16)]


@pytest.mark.parametrize(
    "settings", [{"rho": 1.0}, {"proj_dim": 20}, {"rho": 0.1, "min_proj_dim": 30}]
)
def test_nothing_to_save_is_exact(settings, projections):
    """ρ = 1, or proj_dim of at least the rows, is nn.Linear to the last bit."""
    exact = nn.Linear(24, 16)
    layer = RMMLinear.from_linear(exact, **settings)
    x = torch.randn(20, 24)
    layer(x).square().sum().backward()
    found, layer.weight.grad = layer.weight.grad, None
    exact(x).square().sum().backward()
    assert torch.equal(found, exact.weight.grad)
    assert projections == []


@every_device
@pytest.mark.parametrize("is_trained", [True, False])
def test_autocast_dtypes(device, is_trained):
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


def test_noise_is_new_at_every_step():
    """Two steps draw two sketches: a noise that repeats would never average out."""
    layer, x = RMMLinear(24, 16, rho=0.2), torch.randn(20, 24)
    gradients = []
    for _ in range(2):
        layer.weight.grad = None
        layer(x).square().sum().backward()
        gradients.append(layer.weight.grad)
    assert not torch.allclose(*gradients)


def test_manual_seed_repeats():
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


def test_gradient_accumulation():
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


def test_two_calls_before_backward():
    """Calls of one layer that await their backward passes do not mix up their sketches."""
    weight = torch.randn(3, 6, requires_grad=True)
    xs, y = [torch.randn(40, 6), torch.randn(40, 6)], torch.randn(40, 3)
    outputs = [rmm_linear(x, weight, rho=0.5, seed=seed) for seed, x in enumerate(xs)]
    (outputs[1] + outputs[0]).backward(y)
    s = sketches.get("gaussian")
    parts = [s.project(y, 20, i).T @ s.project(x, 20, i) for i, x in enumerate(xs)]
    torch.testing.assert_close(weight.grad, parts[0] + parts[1])


def test_double_backward_is_refused():
    """A gradient of a gradient would be an estimate of nothing: it is refused, with a way out."""
    layer, x = RMMLinear(24, 16, rho=0.5), torch.randn(20, 24)
    with pytest.raises(RuntimeError, match=r"no double backward.*use torch.nn.Linear"):
        torch.autograd.grad(layer(x).square().sum(), layer.weight, create_graph=True)


def test_state_dict_copy_and_pickle():
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


def test_from_linear_shares_the_parameters():
    """The parameters are the very same objects, and mode and bias-lessness are kept."""
    exact = nn.Linear(24, 16, bias=False).eval()
    layer = RMMLinear.from_linear(exact, rho=0.5)
    assert layer.weight is exact.weight
    assert layer.bias is None
    assert not layer.training
    with pytest.raises(TypeError, match=r"must be a torch.nn.Linear, got GELU"):
        RMMLinear.from_linear(nn.GELU(), rho=0.5)


def test_repr_tells_the_sketch():
    """Printing a model shows which layers are sketched and how."""
    assert "sketch=dct, rho=0.5)" in repr(RMMLinear(24, 16, sketch="dct", rho=0.5))
    blocks = RMMLinear(24, 16, proj_dim=8, block_rows=4)
    assert "sketch=gaussian, proj_dim=8, block_rows=4)" in repr(blocks)


def test_checkpointing_keeps_less():
    """Under checkpointing the sketch is not kept between the passes either."""
    layer = RMMLinear(24, 16, rho=0.5)
    x = torch.randn(20, 24, requires_grad=True)
    saved = saved_by(lambda: checkpoint(lambda x: F.gelu(layer(x)), x, use_reentrant=False))
    assert all(tensor.shape != (10, 24) for tensor in saved)
