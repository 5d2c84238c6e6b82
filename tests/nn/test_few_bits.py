"""Layers that keep few bits: what they keep, and that they are the layer in every other way."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from transformers.pytorch_utils import Conv1D

import rmmbench
from rmmbench import RMMLinear, rmm_linear, sketches
from rmmbench.kernels import rounding
from rmmbench.kernels.levels import BITS
from rmmbench.nn.seeds import next_seed
from rmmbench.nn.size import SketchSettings

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]

each_bits = pytest.mark.parametrize("bits", BITS)
each_rho = pytest.mark.parametrize("rho", [1, 0.3])
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def saved_bytes(function, own=()):
    """Return the bytes that autograd saves while a function runs, each storage once."""
    known = {tensor.untyped_storage()._cdata for tensor in own}
    saved = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            saved[storage._cdata] = tensor
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        output = function()
    sizes = [tensor.untyped_storage().nbytes() for tensor in saved.values()]
    del output
    return sum(sizes)


def stated_bytes(rows, features, bits):
    """Return what the docstring of `rmm_linear` says: a row's levels and ends, and the seed."""
    return rows * (-(-features * bits // 8) + 4 * -(-features // 64)) + 8


@each_bits
@each_rho
@each_dtype
@pytest.mark.parametrize("features", [24, 100, 130])
def test_saves_what_its_docstring_says(bits, rho, dtype, features):
    """⌈features · bits / 8⌉ bytes a row and 4 for each 64 features, in every dtype; one seed."""
    layer = RMMLinear(features, 16, rho=rho, bits=bits, dtype=dtype)
    x = torch.randn(5, 20, features, dtype=dtype, requires_grad=True)
    expected = stated_bytes(100 if rho == 1 else 30, features, bits)
    assert saved_bytes(lambda: layer(x), layer.parameters()) == expected


@each_bits
@each_rho
def test_inspection_tells_these_bytes(bits, rho):
    """`inspect` says what the layers keep: three that read one tensor keep it once."""
    model = rmmbench.convert(Both(100, 16), sketch="oporp", rho=rho, bits=bits)
    x = torch.randn(40, 100)
    expected = stated_bytes(40 if rho == 1 else 12, 100, bits)
    assert rmmbench.inspect(model, x).kept_bytes == expected
    assert saved_bytes(lambda: model(x), model.parameters()) == expected


class Both(nn.Module):
    """Two layers that read one tensor."""

    def __init__(self, in_features, out_features):
        """Make the layers."""
        super().__init__()
        self.q, self.k = (nn.Linear(in_features, out_features) for _ in range(2))

    def forward(self, x):
        """Return the sum of what they make of it."""
        return self.q(x) + self.k(x)


@each_bits
@pytest.mark.parametrize("sketch", [*sketches.names(), None])
def test_the_weight_gradient_is_that_of_what_is_kept(sketch, bits):
    """It is (SᵀY)ᵀ times SᵀX as it comes back, for the S and the rounding that the seed names."""
    x, y = torch.randn(5, 8, 70), torch.randn(5, 8, 3)
    weight, seed = torch.randn(3, 70, requires_grad=True), torch.tensor(7)
    kind = {} if sketch is None else {"sketch": sketch, "rho": 0.25}
    rmm_linear(x, weight, bits=bits, seed=7, **kind).backward(y)
    x_proj, y_proj = x.view(40, 70), y.view(40, 3)
    if sketch is not None:
        s = sketches.get(sketch, block_rows=8 if sketch == "kronecker" else None)
        proj_dim = s.size_from(40, 10)
        key = s.draw(x_proj, proj_dim, seed)
        x_proj, y_proj = (s.project(each, proj_dim, key) for each in (x_proj, y_proj))
    kept = rounding.round_to_bits(x_proj, bits, seed)
    expected = y_proj.T @ rounding.restored(*kept, 70, bits, x.dtype)
    torch.testing.assert_close(weight.grad, expected)


@each_bits
@each_rho
@each_dtype
@pytest.mark.parametrize("shape", [(63,), (2, 3, 5), (1,)])
def test_output_and_other_gradients_are_exact(bits, rho, dtype, shape):
    """All but the weight gradient are nn.Linear's, for any leading dimensions and layout."""
    exact = nn.Linear(24, 16, dtype=dtype)
    layer = RMMLinear.from_linear(exact, sketch="oporp", rho=rho, bits=bits)
    x = torch.randn(*shape, 48, dtype=dtype)[..., ::2]
    results = []
    for module in (exact, layer):
        inputs = x.clone().requires_grad_()
        exact.weight.grad = exact.bias.grad = None
        output = module(inputs)
        output.sum().backward()
        results.append((output.detach(), inputs.grad, exact.bias.grad))
        assert exact.weight.grad.dtype == dtype
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected)


@each_bits
@each_rho
@each_dtype
def test_the_mean_gradient_is_the_exact_one(bits, rho, dtype):
    """Over many draws it lies along the exact gradient, at length 1 within 4.5 standard errors."""
    torch.manual_seed(0)
    rmmbench.manual_seed(0)
    draws, x, y = 300, torch.randn(40, 70).to(dtype), torch.randn(40, 5).to(dtype)
    x = x + 2  # a mean of its own, as after GELU
    exact = y.double().T @ x.double()
    found = []
    for _ in range(draws):
        weight = torch.zeros(5, 70, dtype=dtype, requires_grad=True)
        rmm_linear(x, weight, sketch="oporp", rho=rho, bits=bits).backward(y)
        found.append((weight.grad.double() * exact).sum() / exact.square().sum())
    along = torch.stack(found)
    # The gradient itself is rounded to its dtype.
    slack = torch.finfo(dtype).eps / 4
    assert abs(along.mean() - 1) <= 4.5 * along.std() / draws**0.5 + slack


@each_bits
@each_rho
def test_jagged_inputs(bits, rho):
    """Rows of sequences of several lengths are kept together, as the rows of a matrix."""
    layer, rows = RMMLinear(24, 4, sketch="oporp", rho=rho, bits=bits), torch.randn(12, 24)
    x = torch.nested.nested_tensor_from_jagged(rows, torch.tensor([0, 5, 6, 12]))
    gradients = []
    for inputs in (x, rows):
        rmmbench.manual_seed(1)
        layer.weight.grad = None
        output = layer(inputs)
        (output.values() if output.is_nested else output).square().sum().backward()
        gradients.append(layer.weight.grad)
    assert torch.equal(*gradients)


@each_rho
def test_gpt2s_layers(rho):
    """A Conv1D has the gradient of the nn.Linear with its weight transposed."""
    torch.manual_seed(0)
    conv, x = Conv1D(4, 24), torch.randn(3, 20, 24)
    linear = RMMLinear(24, 4, sketch="oporp", rho=rho, bits=4)
    linear.load_state_dict({"weight": conv.weight.T, "bias": conv.bias})
    model = rmmbench.convert(nn.Sequential(conv), sketch="oporp", rho=rho, bits=4)
    for layer in (model, linear):
        rmmbench.manual_seed(2)
        layer(x).square().sum().backward()
    torch.testing.assert_close(model[0].weight.grad.T, linear.weight.grad)


@each_rho
def test_nothing_is_kept_or_drawn_where_no_gradient_needs_it(rho):
    """A frozen weight, no_grad and eval keep no bits, and take no seed from the stream."""
    layer, x = RMMLinear(24, 4, rho=rho, bits=4), torch.randn(20, 24, requires_grad=True)
    rmmbench.manual_seed(1)
    first = next_seed()
    rmmbench.manual_seed(1)
    with torch.no_grad():
        layer(x)
    layer.eval()(x)
    layer.train().weight.requires_grad_(False)
    assert saved_bytes(lambda: layer(x), layer.parameters()) == 0
    assert torch.equal(next_seed(), first)


@each_rho
def test_copies_keep_as_many_bits(rho):
    """Copies and pickles take the setting along, and the keys of the state are nn.Linear's."""
    layer = RMMLinear(24, 4, rho=rho, bits=2)
    assert set(layer.state_dict()) == {"weight", "bias"}
    assert "bits=2" in repr(layer)
    x = torch.randn(20, 24)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert copied.settings == layer.settings
        rows = 20 if rho == 1 else 6
        assert saved_bytes(partial(copied, x), copied.parameters()) == stated_bytes(rows, 24, 2)


def test_settings_pickled_before_there_were_bits():
    """Settings of an older release, a tuple without bits, are what they were."""
    old = ("rademacher", 0.5, None, 1, None, (("block_rows", 4),))
    found = SketchSettings(*old)
    assert (found.own, found.bits) == ((("block_rows", 4),), None)


@each_bits
@each_rho
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_fake_tensors(bits, rho, device):
    """Shapes and types of a step are known without numbers, and bytes are the real ones."""
    with FakeTensorMode():
        layer = RMMLinear(100, 16, rho=rho, bits=bits, device=device)
        x = torch.randn(40, 100, device=device, requires_grad=True)
        found = saved_bytes(lambda: layer(x), layer.parameters())
        layer(x).sum().backward()
        assert layer.weight.grad.shape == layer.weight.shape
        assert layer.weight.grad.dtype == torch.float32
    assert found == stated_bytes(40 if rho == 1 else 12, 100, bits)


@each_rho
def test_autocast(rho):
    """Under autocast dtypes are nn.Linear's, and what is kept is as small."""
    layer, x = RMMLinear(100, 16, rho=rho, bits=4), torch.randn(40, 100, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        size = saved_bytes(lambda: layer(x), layer.parameters())
        output = layer(x)
    # Besides a copy of the weight in bfloat16.
    copied = layer.weight.numel() * 2
    assert size in (expected := stated_bytes(40 if rho == 1 else 12, 100, 4), expected + copied)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert layer.weight.grad.dtype == x.grad.dtype == torch.float32


def test_where_bits_would_save_nothing():
    """With so few features that the ends outweigh the levels, numbers stay as they are."""
    exact, x = nn.Linear(2, 4), torch.randn(20, 2)
    layer = RMMLinear.from_linear(exact, bits=8)
    layer(x).square().sum().backward()
    found, exact.weight.grad = exact.weight.grad, None
    exact(x).square().sum().backward()
    assert torch.equal(found, exact.weight.grad)


@pytest.mark.parametrize("shape", [(0, 24), (3, 0, 24), (24,), (1, 24)])
def test_empty_and_single_inputs(shape):
    """An empty batch keeps nothing, and one row is rounded as others are."""
    layer = RMMLinear(24, 16, bits=4)
    output = layer(torch.randn(shape))
    assert output.shape == (*shape[:-1], 16)
    output.sum().backward()
    assert layer.weight.grad.isfinite().all()


@each_rho
def test_double_backward_is_refused(rho):
    """A gradient of a gradient would be an estimate of nothing, also where there is no sketch."""
    layer, x = RMMLinear(24, 16, rho=rho, bits=8), torch.randn(20, 24)
    with pytest.raises(RuntimeError, match="no double backward"):
        torch.autograd.grad(layer(x).square().sum(), layer.weight, create_graph=True)


def test_what_is_not_finite_is_seen():
    """A NaN or ∞ in the input makes the weight gradient no number, so that a bad step shows."""
    for value in (float("nan"), float("inf")):
        layer, x = RMMLinear(24, 4, bits=4), torch.randn(20, 24)
        x[3, 5] = value
        layer(x).nansum().backward()
        assert layer.weight.grad.isnan().any()
