"""What nn.Linear takes, the layer takes: the exact way where a sketch would be of no use."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jvp, vmap

import rmmbench
from rmmbench import RMMLinear, rmm_linear


def pair(**settings):
    """Return an nn.Linear and a sketched layer with the same parameters, each their own."""
    exact = nn.Linear(8, 4, dtype=settings.pop("dtype", None))
    layer = RMMLinear.from_linear(exact, **{"rho": 0.25, **settings})
    layer.weight = nn.Parameter(exact.weight.detach().clone())
    return exact, layer


def assert_exact(pair, result):
    """Assert that both layers give the very same result, in gradients too."""
    exact, layer = pair
    torch.testing.assert_close(result(layer), result(exact))


INPUTS = {
    "nested": lambda: torch.nested.nested_tensor([torch.randn(3, 8), torch.randn(5, 8)]),
    "coo": lambda: torch.randn(6, 8).relu().to_sparse(),
    "csr": lambda: torch.randn(6, 8).relu().to_sparse_csr(),
    "mkldnn": lambda: torch.randn(6, 8).to_mkldnn(),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_that_are_no_matrix(kind):
    """Nested, sparse and opaque inputs go the exact way, weight gradient and all."""
    x = INPUTS[kind]()

    def result(layer):
        layer.weight.grad = None
        output = layer(x)
        dense = torch.cat(output.unbind()) if output.is_nested else output.to_dense()
        dense.square().sum().backward()
        return dense.detach(), layer.weight.grad

    assert_exact(pair(), result)


@pytest.mark.parametrize("sketch", ["gaussian", "oporp", "norm-rows"])
def test_jagged_inputs_are_sketched(sketch, projections):
    """Rows of sequences of several lengths are sketched together, and come back in the lengths."""
    _, layer = pair(sketch=sketch)
    rows = torch.randn(12, 8)
    x = torch.nested.nested_tensor_from_jagged(rows, torch.tensor([0, 5, 6, 12]))
    gradients = []
    for inputs in (x, rows):
        rmmbench.manual_seed(1)
        layer.weight.grad = None
        output = layer(inputs)
        (output.values() if output.is_nested else output).square().sum().backward()
        gradients.append(layer.weight.grad)
        assert output.is_nested == inputs.is_nested
        assert inputs is rows or (output + 1).shape == layer(x).shape
    assert projections[0] == (3, 8)
    assert torch.equal(*gradients)


class Both(nn.Module):
    """Two layers that read one tensor."""

    def __init__(self):
        """Make the layers."""
        super().__init__()
        self.q, self.k = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x):
        """Return the sum of what they make of it."""
        return self.q(x) + self.k(x)


def test_jagged_inputs_are_shared(projections):
    """Layers that read one jagged tensor keep one sketch of it."""
    model = rmmbench.convert(Both(), rho=0.25)
    rows = torch.randn(12, 8)
    model(torch.nested.nested_tensor_from_jagged(rows, torch.tensor([0, 5, 6, 12])))
    assert projections == [(3, 8)]


@pytest.mark.parametrize(("in_features", "out_features"), [(0, 4), (8, 0)])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
def test_weights_of_no_elements(in_features, out_features, projections):
    """A weight of no elements has a gradient of none, and nothing is drawn for it."""
    layer = RMMLinear(in_features, out_features, rho=0.25)
    layer(torch.randn(12, in_features)).sum().backward()
    assert layer.weight.grad.shape == (out_features, in_features)
    assert projections == []


def test_jagged_inputs_with_rows_left_out():
    """Where rows between sequences belong to none of them, torch's own refusal is told."""
    lengths = {"offsets": torch.tensor([0, 5, 12]), "lengths": torch.tensor([3, 6])}
    x = torch.nested.nested_tensor_from_jagged(torch.randn(12, 8), **lengths)
    for layer in pair():
        with pytest.raises(ValueError, match="expected input to be a contiguous jagged"):
            layer(x)


def per_sample(loss, x):
    """Return the gradient for each sample by itself."""
    return lambda p: vmap(grad(lambda p, x: loss(p, x)), (None, 0))(p, x)


TRANSFORMS = {
    "grad": lambda loss, x: grad(lambda p: loss(p, x)),
    "per-sample": per_sample,
    "jvp": lambda loss, x: lambda p: jvp(lambda p: loss(p, x), (p,), (p,)),
    "hessian": lambda loss, x: hessian(lambda p: loss(p, x)),
    "ensemble": lambda loss, x: (
        lambda p: vmap(loss, (0, None))({k: v.expand(2, *v.shape) for k, v in p.items()}, x)
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_of_functions(transform):
    """Under torch.func gradients are exact: of one sample, of gradients and along directions."""
    x = torch.randn(5, 6, 8)

    def result(layer):
        def loss(parameters, x):
            return functional_call(layer, parameters, (x,)).square().sum()

        parameters = {name: value.detach() for name, value in layer.named_parameters()}
        return TRANSFORMS[transform](loss, x)(parameters)

    assert_exact(pair(), result)


def test_forward_mode():
    """Derivatives of forward mode pass through the layer."""
    x, direction = torch.randn(2, 6, 8)

    def result(layer):
        with forward_ad.dual_level():
            output = layer(forward_ad.make_dual(x, direction))
            return forward_ad.unpack_dual(output).tangent

    assert_exact(pair(), result)


@pytest.mark.parametrize("sketch", ["rows", "gaussian", "rademacher", "dct"])
def test_complex_numbers(sketch):
    """Complex weights have exact gradients: sketches are of real numbers."""
    x = torch.randn(6, 8, dtype=torch.complex64)

    def result(layer):
        layer.weight.grad = None
        layer(x).abs().sum().backward()
        return layer.weight.grad

    assert_exact(pair(sketch=sketch, dtype=torch.complex64), result)


def test_meta_device():
    """On the meta device shapes go through, forward and backward."""
    _, layer = pair()
    layer.to("meta")
    output = layer(torch.empty(2, 6, 8, device="meta"))
    output.sum().backward()
    assert (output.shape, layer.weight.grad.shape) == ((2, 6, 4), (4, 8))


def test_traced_by_fx(projections):
    """torch.fx takes a sketched layer of a model as one step, as it does nn.Linear."""
    model = nn.Sequential(pair()[1], nn.GELU())
    traced = torch.fx.symbolic_trace(model)
    assert [node.op for node in traced.graph.nodes] == [
        "placeholder",
        *["call_module"] * 2,
        "output",
    ]
    traced(torch.randn(12, 8)).sum().backward()
    assert projections == [(3, 8), (3, 4)]
    assert model[0].weight.grad is not None
    traced.eval()(torch.randn(12, 8))
    assert len(projections) == 2


def test_traced_by_fx_alone(projections):
    """The layer traced by itself, and the function, are calls of the function."""
    traced = torch.fx.symbolic_trace(pair()[1])
    assert rmm_linear in [node.target for node in traced.graph.nodes]
    traced(torch.randn(12, 8)).sum().backward()
    assert projections == [(3, 8), (3, 4)]
