"""Under autocast a layer keeps its parameter, not one more cast copy of it for every call."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

import rmmbench
from rmmbench import RMMLinear, methods
from rmmbench.nn.analysis.live import LiveBytes
from rmmbench.spec.case import Case

pytestmark = pytest.mark.usefixtures("fresh")

HIDDEN = 128


class Encoder(nn.Module):
    """A block as BERT's, without dropout."""

    def __init__(self):
        """Make the layers."""
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.up, self.down = nn.Linear(HIDDEN, 4 * HIDDEN), nn.Linear(4 * HIDDEN, HIDDEN)
        self.first, self.second = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)

    def forward(self, x):
        """Return what attention and two more layers make of x, shape (batch, length, hidden)."""
        weights = (self.q(x) @ self.k(x).transpose(1, 2)).softmax(2)
        x = self.first(x + self.out(weights @ self.v(x)))
        return self.second(x + self.down(F.gelu(self.up(x))))


class Looped(nn.Module):
    """Calls its blocks one after the other, and all of them as often as it is told to."""

    def __init__(self, times, run=lambda block, x: block(x)):
        """Take how often, and how."""
        super().__init__()
        self.blocks = nn.ModuleList(Encoder() for _ in range(3))
        self.times, self.run = times, run

    def forward(self, x):
        """Return what is left of x."""
        for block in self.times * list(self.blocks):
            x = self.run(block, x)
        return x


def saved_bytes(model, x, run=None):
    """Return what autograd keeps of a forward pass, each storage once, without parameters."""
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    saved = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            saved[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor), autocast():
        output = (run or model)(x)
    size = sum(storage.nbytes() for storage in saved.values())
    output.float().sum().backward()
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}
    return size


def peak_bytes(model, x):
    """Return the most that a training step has alive, with parameters."""
    with LiveBytes() as count:
        count.count(model.parameters())
        with autocast():
            loss = model(x).float().sum()
        loss.backward()
    return count.peak


autocast = partial(torch.autocast, "cpu", dtype=torch.bfloat16)
again = partial(checkpoint, use_reentrant=False)
compiled = partial(torch.compile, backend="aot_eager_decomp_partition", fullgraph=True)


def both(measured, times, run):
    """Return what is measured of a looped encoder, and of the same with every layer sketched."""
    model = Looped(times, run)
    exact = measured(model, torch.randn(2, 32, HIDDEN))
    model.zero_grad()
    rmmbench.convert(model, sketch="rows", rho=0.1)
    return exact, measured(model, torch.randn(2, 32, HIDDEN))


@pytest.mark.parametrize("run", [lambda block, x: block(x), again], ids=["plain", "checkpoint"])
def test_called_again_a_sketch_still_keeps_less(run):
    """Called three times, sketched blocks keep no more than exact ones, and need no more."""
    with FakeTensorMode():
        exact, sketched = both(saved_bytes, 3, run)
        assert sketched <= exact
        exact, sketched = both(peak_bytes, 3, run)
    # One weight's gradient comes in two bytes an element, is cast to four and added up in four
    # more, where the calls of an exact layer add up in two.
    assert sketched <= exact + 10 * 4 * HIDDEN**2


def test_called_again_compiled():
    """In compiled code, too, more calls keep no copy of a weight for each."""
    layer = nn.Linear(HIDDEN, HIDDEN)

    def run(x):
        return layer(layer(layer(x).sin()).sin())

    exact = saved_bytes(layer, torch.randn(32, HIDDEN), compiled(run))
    layer.zero_grad()
    rmmbench.convert(model := nn.Sequential(layer), sketch="rows", rho=0.1)
    assert saved_bytes(model, torch.randn(32, HIDDEN), compiled(run)) <= exact


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        ("rmm", 2 * 24 * 2 + 8),
        ("exact-rp", 20 * 3 * 2 + 8),
        ("prac", (20 + 24) * 3 * 2),
        ("velora", 20 * 2),
    ],
)
def test_no_method_keeps_a_copy_of_a_parameter(method, kept, saved_storages):
    """Called twice, a converted layer keeps what it says of its inputs, and no weight."""
    layer = nn.Linear(24, 16)
    settings = {} if method == "velora" else {"rho": 0.1}
    settings |= {"sketch": "oporp"} if method == "rmm" else {}
    case = Case(model="mlp", method=method, batch_size=20, **settings)
    methods.stack(case.steps).apply(layer, {})
    with saved_storages(layer) as saved, autocast():
        outputs = [layer(torch.randn(20, 24)) for _ in range(2)]
    assert saved.total_bytes() == 2 * kept
    sum(outputs).float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


def test_a_computed_weight_is_kept_as_autocast_made_it():
    """A weight that is no parameter would live for the layer alone: its copy is half as large."""

    class Doubled(nn.Module):
        def forward(self, weight):
            return weight * 2

    layer = RMMLinear(24, 16, bias=False, rho=0.1)
    parametrize.register_parametrization(layer, "weight", Doubled())
    saved = []
    with saved_tensors_hooks(lambda tensor: saved.append(tensor), lambda _: None), autocast():
        layer(torch.randn(20, 24))
    assert [tensor.dtype for tensor in saved if tensor.shape == (16, 24)] == [torch.bfloat16]


@pytest.mark.parametrize("method", ["exact-rp", "prac", "velora"])
def test_other_methods_leave_complex_numbers_exact(method):
    """What is random and real estimates no gradient of complex numbers: it is nn.Linear's."""
    layer, x = nn.Linear(24, 16, dtype=torch.complex64), torch.randn(20, 24) * (1 + 2j)
    layer(x).abs().sum().backward()
    expected, layer.weight.grad = layer.weight.grad, None
    settings = {} if method == "velora" else {"rho": 0.1}
    methods.stack(Case(model="mlp", method=method, batch_size=20, **settings).steps).apply(
        layer, {}
    )
    layer(x).abs().sum().backward()
    assert torch.equal(layer.weight.grad, expected)
