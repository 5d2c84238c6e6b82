"""The contract of a layer that keeps less than its input, whatever it keeps."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

import rmmbench
from rmmbench.methods._projected import Projected
from rmmbench.methods._subtokens import SubTokens
from rmmbench.nn.compressed_layers import Compressed
from rmmbench.nn.swap import compress

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


def sketched(layer):
    """Let a layer keep a sketch."""
    rmmbench.convert(layer, sketch="oporp", rho=0.5)


def sub_tokens(layer):
    """Let a layer keep a coefficient of each five features; the first batch decides of which."""
    compress(layer, SubTokens())
    layer.register_buffer("direction", torch.zeros(5), persistent=False)
    layer.has_direction = False


WAYS = {
    "sketch": sketched,
    "features": partial(compress, compression=Projected(0.5)),
    "features in 4 bits": partial(compress, compression=Projected(0.5, 4)),
    "all features in 2 bits": partial(compress, compression=Projected(1.0, 2)),
    "sub-tokens": sub_tokens,
}

every_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(autouse=True)
def _from_the_start(fresh):
    """Compile anew, and draw from the start."""


def pair(way, kind=nn.Linear, sizes=(24, 16), **settings):
    """Return a linear layer, and one that is converted, with the same parameters."""
    exact = kind(*sizes, **settings)
    layer = copy.deepcopy(exact)
    WAYS[way](layer)
    return exact, layer


def gradients(layer, x, y, call=None):
    """Return output and the gradients of input and parameters."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    rmmbench.manual_seed(5)
    output = layer(x) if call is None else call(x)
    output.backward(y)
    return [output.detach(), x.grad, *(p.grad for p in layer.parameters())]


@every_way
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(63,), (4, 16), (2, 3, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_all_but_the_weight_gradient_is_exact(way, dtype, shape, bias):
    """Output, input gradient and bias gradient are nn.Linear's, and the weight's is another."""
    exact, layer = pair(way, dtype=dtype, bias=bias)
    x, y = torch.randn(*shape, 24, dtype=dtype), torch.randn(*shape, 16, dtype=dtype)
    found, expected = gradients(layer, x, y), gradients(exact, x, y)
    for place in {0, 1, 3} & set(range(len(found))):
        torch.testing.assert_close(found[place], expected[place])
    assert found[2].dtype == dtype
    assert not torch.allclose(found[2], expected[2])


@every_way
def test_conv1d(way):
    """GPT-2's layer has its own output and gradients, and a weight gradient of its shape."""
    exact, layer = pair(way, Conv1D, (16, 24))
    x, y = torch.randn(2, 20, 24), torch.randn(2, 20, 16)
    found, expected = gradients(layer, x, y), gradients(exact, x, y)
    for place in (0, 1, 3):
        torch.testing.assert_close(found[place], expected[place])
    assert found[2].shape == exact.weight.shape


@every_way
def test_non_contiguous_input(way):
    """A transposed input gives what its contiguous copy gives."""
    _, layer = pair(way, sizes=(6, 3))
    x, y = torch.randn(6, 8, 5).permute(2, 1, 0), torch.randn(3, 8, 5).permute(2, 1, 0)
    for one, other in zip(
        gradients(layer, x, y), gradients(layer, x.contiguous(), y.contiguous()), strict=True
    ):
        torch.testing.assert_close(one, other)


def nothing_kept(layer, x):
    """Return whether a layer is nn.Linear for an input, which its graph tells."""
    return "Compressed" not in type(layer(x).grad_fn).__name__


@every_way
def test_where_nothing_is_kept(way):
    """In eval mode, switched off, with a frozen weight, or of nothing, the layer is nn.Linear."""
    _, layer = pair(way)
    x = torch.randn(20, 24, requires_grad=True)
    assert not nothing_kept(layer, x)
    assert nothing_kept(layer, torch.randn(0, 24, requires_grad=True))
    assert nothing_kept(layer.eval(), x)
    layer.train().exact = True
    assert nothing_kept(layer, x)
    layer.exact = False
    with torch.no_grad():
        assert layer(x).grad_fn is None
    layer.weight.requires_grad_(False)
    assert nothing_kept(layer, x)


@every_way
def test_transforms_go_the_exact_way(way):
    """Under torch.func the gradient is exact."""
    exact, layer = pair(way)
    x = torch.randn(20, 24)
    found, expected = (
        grad(lambda p, module=module: functional_call(module, p, (x,)).square().sum())(
            {name: value.detach() for name, value in module.named_parameters()}
        )
        for module in (layer, exact)
    )
    torch.testing.assert_close(found, expected)


@every_way
def test_jagged_input(way):
    """Sequences of several lengths are rows one after another, and come back in the lengths."""
    _, layer = pair(way)
    rows, y = torch.randn(12, 24), torch.randn(12, 16)

    def call(x):
        output = layer(torch.nested.nested_tensor_from_jagged(x, torch.tensor([0, 5, 6, 12])))
        assert [len(one) for one in output.unbind()] == [5, 1, 6]
        return output.values()

    for one, other in zip(gradients(layer, rows, y, call), gradients(layer, rows, y), strict=True):
        torch.testing.assert_close(one, other)


@every_way
def test_on_no_device(way):
    """A layer without numbers, on "meta", gives shapes."""
    _, layer = pair(way)
    layer.to("meta")
    layer(torch.randn(20, 24, device="meta")).sum().backward()
    assert layer.weight.grad.shape == (16, 24)


@every_way
def test_autocast(way):
    """Under autocast dtypes are nn.Linear's, and no cast copy of the weight is kept."""
    exact, layer = pair(way)
    x, saved = torch.randn(20, 24, requires_grad=True), []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = exact(x)
        with hooks:
            output = layer(x)
    torch.testing.assert_close(output, expected)
    assert [t.data_ptr() for t in saved if t.shape == (16, 24)] == [layer.weight.data_ptr()]
    output.float().sum().backward()
    assert {x.grad.dtype, *(p.grad.dtype for p in layer.parameters())} == {torch.float32}


@every_way
def test_double_backward_is_refused(way):
    """A gradient of a gradient would be an estimate of nothing: it is refused, with a way out."""
    _, layer = pair(way)
    loss = layer(torch.randn(20, 24)).square().sum()
    with pytest.raises(RuntimeError, match=r"no double backward.*use torch.nn.Linear"):
        torch.autograd.grad(loss, layer.weight, create_graph=True)


@every_way
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointed(way, use_reentrant):
    """Under a checkpoint the gradient is that of the draw of the second forward pass."""
    _, layer = pair(way)
    x, y = torch.randn(20, 24), torch.randn(20, 16)
    expected = gradients(layer, x, y)

    def call(x):
        output = checkpoint(layer, x, use_reentrant=use_reentrant)
        rmmbench.manual_seed(5)
        return output

    for found, one in zip(gradients(layer, x, y, call), expected, strict=True):
        torch.testing.assert_close(found, one)


@every_way
@pytest.mark.parametrize("backend", ["aot_eager", "aot_eager_decomp_partition"])
@pytest.mark.parametrize("dynamic", [None, True])
def test_compiled(way, backend, dynamic):
    """Compiled, in one graph, gradients are eager's for the same draw."""
    _, layer = pair(way)
    x, y = torch.randn(4, 5, 24), torch.randn(4, 5, 16)
    expected = gradients(layer, x, y)
    call = torch.compile(layer, backend=backend, fullgraph=True, dynamic=dynamic)
    for found, one in zip(gradients(layer, x, y, call), expected, strict=True):
        torch.testing.assert_close(found, one)


@every_way
def test_traced_by_fx(way):
    """torch.fx takes a converted layer of a model as one step, as it does nn.Linear."""
    _, layer = pair(way)
    traced = torch.fx.symbolic_trace(nn.Sequential(layer, nn.ReLU()))
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1"]


@every_way
def test_copies(way):
    """Copies and pickles behave as the layer does, and are saved as nn.Linear is."""
    exact, layer = pair(way)
    assert layer.state_dict().keys() == exact.state_dict().keys()
    x, y = torch.randn(20, 24), torch.randn(20, 16)
    expected = gradients(layer, x, y)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert isinstance(copied, Compressed)
        for found, one in zip(gradients(copied, x, y), expected, strict=True):
            torch.testing.assert_close(found, one)
