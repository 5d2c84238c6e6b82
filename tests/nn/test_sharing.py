"""Layers of one module that read the same tensor keep one sketch of it between them."""

import copy
import pickle
import weakref

import pytest
import torch
import torch._dynamo
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

import rmmbench
from rmmbench.nn import converted_layers, exact_layers

pytestmark = pytest.mark.usefixtures("fresh")

NAMES = ("q", "k", "v")


class Attention(nn.Module):
    """Three layers that read one tensor; `between` runs after the first has read it."""

    def __init__(self, between=None):
        """Make the layers."""
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(24, 16) for _ in NAMES)
        self.between = between or nn.Identity()

    def forward(self, x):
        """Return a sum of all three, read from a tensor of this module's own."""
        h = x + 1
        q = self.q(h)
        self.between(h)
        return q.tanh() + self.k(h).sin() + self.v(h)


class ChangesInPlace(nn.Module):
    """Changes the tensor that it is given."""

    def forward(self, x):
        """Double it."""
        x.mul_(2)


class Fails(nn.Module):
    """Fails while `is_on`."""

    is_on = True

    def forward(self, x):
        """Fail."""
        if self.is_on:
            raise RuntimeError("on purpose")


def batch():
    """Return an input of 40 rows."""
    return torch.randn(5, 8, 24)


def gradients(model):
    """Return the gradients of all weights."""
    return [layer.weight.grad for layer in model.modules() if isinstance(layer, nn.Linear)]


def kept_bytes(model, x):
    """Return the bytes of sketches and keys that a forward pass keeps, each storage once."""
    kept = {}

    def note(tensor):
        # x_proj, a seed, or the key of norm-rows.
        if tensor.shape in [(12, 24), (), (2, 12)]:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        output = model(x)
    assert output.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize(
    ("settings", "x_projs"), [({}, 1), ({"share": True}, 1), ({"share": False}, 3)]
)
@pytest.mark.parametrize(("sketch", "key_bytes"), [("gaussian", 8), ("norm-rows", 16 * 12)])
def test_kept_once(sketch, key_bytes, settings, x_projs, projections):
    """Q, K and V keep one x_proj and one key between them; without sharing, each its own."""
    model = rmmbench.convert(Attention(), sketch=sketch, rho=0.3, **settings)
    assert kept_bytes(model, batch()) == x_projs * (12 * 24 * 4 + key_bytes)
    assert projections == [(12, 24)] * x_projs


def test_gradients_are_those_of_one_seed():
    """Each weight gradient is what its layer would get alone, with the seed that all three have."""
    model, x = rmmbench.convert(Attention(), rho=0.3), batch()
    model(x).sum().backward()
    expected = gradients(model)
    for name, gradient in zip(NAMES, expected, strict=True):
        for other in NAMES:
            model.get_submodule(other).requires_grad_(other == name)
        rmmbench.manual_seed(0)
        model.zero_grad()
        model(x).sum().backward()
        torch.testing.assert_close(model.get_submodule(name).weight.grad, gradient)


def test_changed_between_two_readers(projections):
    """A tensor that is changed in place is another one: the next reader draws again."""
    model = rmmbench.convert(Attention(ChangesInPlace()), rho=0.3)
    model(batch()).sum().backward()
    assert projections[:-3] == [(12, 24)] * 2


@pytest.mark.parametrize("other", [{"rho": 0.2}, {"sketch": "oporp", "rho": 0.3}])
def test_other_settings_are_apart(other, projections):
    """Layers of other settings below the same module keep their own."""
    model = rmmbench.convert(Attention(), rho=0.3, include=["q", "k"])
    rmmbench.convert(model, include="v", **other)
    # Even were they to share, the settings are compared.
    model.v.compression = model.v.compression._replace(shared=model.q.shared)
    model(batch())
    assert len(projections) == 2
    assert model.q.shared is model.k.shared


def test_frozen_layer_among_them(projections):
    """A frozen layer keeps nothing and is in nobody's way."""
    for frozen in NAMES:
        model = rmmbench.convert(Attention(), rho=0.3)
        model.get_submodule(frozen).requires_grad_(False)
        projections.clear()
        model(batch()).sum().backward()
        assert len(projections) == 1 + 2
        assert model.get_submodule(frozen).weight.grad is None
        assert sum(gradient is not None for gradient in gradients(model)) == 2


def test_under_autocast(projections):
    """Under autocast all three keep one x_proj of the cast dtype."""
    model = rmmbench.convert(Attention(), rho=0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert kept_bytes(model, batch()) == 12 * 24 * 2 + 8
    assert projections == [(12, 24)]


def test_autocast_of_one_of_them(projections):
    """A layer that autocast has read in another dtype keeps its own."""

    class Mixed(Attention):
        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                q = self.q(x)
            return q + self.k(x) + self.v(x)

    rmmbench.convert(Mixed(), rho=0.3)(batch()).sum().backward()
    assert len(projections) == 2 + 3


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_computed_again_is_shared_again(use_reentrant, projections):
    """Where checkpointing computes the forward pass again, that shares, too."""
    model = rmmbench.convert(Attention(), rho=0.3)
    x = batch().requires_grad_()
    checkpoint(model, x, use_reentrant=use_reentrant).sum().backward()
    # Reentrant checkpointing has no gradients, and so no sketches, at first.
    forward = 0 if use_reentrant else 1
    assert len(projections) == forward + 1 + 3


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoint_inside_of_the_module(use_reentrant):
    """A checkpoint that holds some of the readers gives right gradients, shared or not."""

    class Partly(Attention):
        def forward(self, x):
            h = x + 1
            rest = checkpoint(lambda h: self.k(h).sin() + self.v(h), h, use_reentrant=use_reentrant)
            return self.q(h).tanh() + rest

    model = Partly()
    signs = torch.tensor([1.0, -1.0]).repeat(20)
    x = (signs.view(5, 8, 1) * torch.randn(24)).requires_grad_()
    model(x).square().mean().backward()
    exact = gradients(model)
    rmmbench.convert(model, sketch="oporp", rho=0.6)
    along = []
    for _ in range(60):
        model.zero_grad()
        model(x).square().mean().backward()
        pairs = zip(gradients(model), exact, strict=True)
        along.append([float((g * e).sum() / e.square().sum()) for g, e in pairs])
    ratios = torch.tensor(along)
    standard_error = ratios.std(0) / 60**0.5
    assert bool((standard_error < 0.1).all())
    assert bool(((ratios.mean(0) - 1).abs() <= 5 * standard_error).all())


@pytest.mark.parametrize("backend", ["aot_eager", "aot_eager_decomp_partition", "inductor"])
@pytest.mark.parametrize(("between", "draws"), [(nn.Identity, 1), (ChangesInPlace, 2)])
@pytest.mark.parametrize("is_nested", [True, False])
def test_compiled(backend, between, draws, is_nested, projections):
    """A compiler makes one sketch of the three, but of a tensor that was changed its own."""
    module = Attention(between())
    model, x = rmmbench.convert(nn.Sequential(module) if is_nested else module, rho=0.3), batch()
    model(x).square().mean().backward()
    expected = gradients(model)
    model.zero_grad()
    rmmbench.manual_seed(0)
    projections.clear()
    torch.compile(model, fullgraph=True, backend=backend)(x).square().mean().backward()
    assert len(projections) == draws + 3
    for found, gradient in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(found, gradient)


def test_every_forward_pass_draws_anew(projections):
    """The next forward pass takes nothing from the one before it, not even of the same tensor."""
    model = rmmbench.convert(Attention(), rho=0.3)
    first, second = batch(), batch()
    parts = []
    for x in (first, second, second):
        model.zero_grad()
        model(x).sum().backward()
        parts.append(gradients(model))
    assert not torch.allclose(parts[1][2], parts[2][2])
    # The same, but all backward passes at the end.
    rmmbench.manual_seed(0)
    model.zero_grad()
    projections.clear()
    outputs = [model(x).sum() for x in (first, second, second)]
    assert len(projections) == 3
    sum(outputs).backward()
    for found, *expected in zip(gradients(model), *parts, strict=True):
        torch.testing.assert_close(found, sum(expected))


@pytest.mark.parametrize("share", [True, False])
def test_input_dies_where_it_would(share):
    """Sharing holds no input alive: it dies within the forward pass, as without sharing."""
    alive = []

    class Watched(Attention):
        def forward(self, x):
            h = x + 1
            watch = weakref.ref(h)
            outputs = self.q(h) + self.k(h) + self.v(h)
            del h
            alive.append(watch() is not None)
            return outputs

    rmmbench.convert(Watched(), rho=0.3, share=share)(batch())
    assert alive == [False]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_after_the_forward_pass(fails, projections):
    """After the forward pass, or an exception in it, nothing is kept and nothing is shared."""
    between = Fails()
    between.is_on = fails
    model = rmmbench.convert(Attention(between), rho=0.3)
    x = batch()
    if fails:
        with pytest.raises(RuntimeError, match="on purpose"):
            model(x)
    else:
        model(x)
    assert model.q.shared._readings == []
    projections.clear()
    model.q(x)
    model.k(x)
    assert len(projections) == 2
    between.is_on = False
    projections.clear()
    model(x)
    assert len(projections) == 1


def test_outside_of_the_module(projections):
    """Layers that are called by themselves share nothing, and leave nothing."""
    model, x = rmmbench.convert(Attention(), rho=0.3), batch()
    for name in NAMES:
        model.get_submodule(name)(x).sum().backward()
    assert len(projections) == 3 + 3
    assert model.q.shared._readings == []


def test_eval_and_exact_layers_share_nothing(projections):
    """In eval mode, without gradients and within exact_layers nothing is drawn or kept."""
    model, x = rmmbench.convert(Attention(), rho=0.3), batch()
    model.eval()(x)
    model.train()
    with torch.no_grad():
        model(x)
    with exact_layers(model):
        model(x).sum().backward()
    assert projections == []
    model.q.eval()
    model(x)
    assert len(projections) == 1


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_copies_share_among_themselves(duplicate, projections):
    """A copy of a model shares as the model does, and nothing with the model."""
    model = rmmbench.convert(nn.Sequential(Attention()), rho=0.3)
    copied = duplicate(model)
    shared = {layer.shared for layer in converted_layers(copied).values()}
    assert len(shared) == 1
    assert shared.isdisjoint({layer.shared for layer in converted_layers(model).values()})
    x = batch()
    for each in (model, copied):
        projections.clear()
        each(x).sum().backward()
        assert len(projections) == 1 + 3
    # While the one's forward pass runs, the other's layers stand alone.
    model[0].between = WithOthers(copied[0])
    projections.clear()
    model(x)
    assert len(projections) == 1 + 2


class WithOthers(nn.Module):
    """Calls two layers of another model."""

    def __init__(self, other):
        """Take the other model, which is not a part of this one."""
        super().__init__()
        self.other = [other]

    def forward(self, x):
        """Let both read x."""
        self.other[0].q(x)
        self.other[0].k(x)
