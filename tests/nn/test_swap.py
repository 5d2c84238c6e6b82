"""A change of class is seen, whatever was done to the layer before, and can be undone."""

import copy
import pickle

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from torch import nn
from transformers.models.falcon.modeling_falcon import FalconLinear

import rmmbench
from rmmbench.nn import RMMLinear, converted_layers
from rmmbench.nn.size import SketchSettings
from rmmbench.nn.swap import swap

HALF = SketchSettings("oporp", 0.5)


class Inheriting(nn.Linear):
    """A subclass that computes what nn.Linear does, and has more to say."""

    def extra_repr(self):
        """Say more."""
        return f"{super().extra_repr()}, more"


def hooked(layer):
    """Return a layer whose forward accelerate has replaced."""
    return add_hook_to_module(layer, ModelHook())


def unhooked(layer):
    """Return a layer that accelerate has let go of, which leaves it a bound method."""
    return remove_hook_from_module(hooked(layer))


def patched(layer):
    """Return a layer with a forward that calls its class's, in a way nobody can see."""
    forward = layer.forward
    layer.forward = lambda input: forward(input)
    return layer


def compiled_in_place(layer):
    """Return a layer whose calls run compiled."""
    layer.compile(backend="eager")
    return layer


@pytest.mark.parametrize(
    "prepare",
    [
        hooked,
        unhooked,
        compiled_in_place,
        lambda layer: torch.compile(layer, backend="eager"),
        torch.nn.utils.spectral_norm,
    ],
    ids=["hooked", "unhooked", "compiled in place", "compiled", "normed"],
)
def test_reached_whatever_was_done_before(prepare, projections):
    """A layer that was hooked, compiled or normed, and called, keeps a sketch once converted."""
    model, x = nn.Sequential(prepare(nn.Linear(8, 4))), torch.randn(32, 8)
    model(x).sum().backward()
    rmmbench.convert(model, rho=0.5)
    model(x).sum().backward()
    assert projections == [(16, 8), (16, 4)]


def test_a_hook_goes_and_the_sketch_stays(projections):
    """What accelerate puts back when it lets go of a converted layer is the converted one's."""
    layer = hooked(nn.Linear(8, 4))
    rmmbench.convert(nn.Sequential(layer), rho=0.5)
    remove_hook_from_module(layer)(torch.randn(32, 8))
    assert projections == [(16, 8)]


def test_a_forward_that_would_hide_the_sketch():
    """A layer whose forward was replaced is refused by name, before any other is changed."""
    model = nn.Sequential(nn.Linear(8, 8), patched(nn.Linear(8, 4)))
    need = "layer '1' must have the forward of its class, got one put in its place; put it there"
    for where in ("all", "beneficial"):
        with pytest.raises(ValueError, match=need):
            rmmbench.convert(model, rho=0.5, where=where, example=torch.randn(32, 8))
    assert not converted_layers(model)
    assert list(converted_layers(rmmbench.convert(model, rho=0.5, exclude="1"))) == ["0"]


@pytest.mark.parametrize("prepare", [hooked, unhooked, lambda layer: layer])
@pytest.mark.parametrize("kind", [nn.Linear, Inheriting])
def test_undone(prepare, kind, projections):
    """What a swap changed is as it was when that is undone."""
    layer = prepare(kind(8, 4))
    model, before = nn.Sequential(layer), dict(vars(layer))
    undo = swap(model, ["0"], HALF, share=True)
    model(torch.randn(32, 8))
    undo()
    assert len(projections) == 1
    model(torch.randn(32, 8))
    assert len(projections) == 1
    assert type(layer) is kind
    assert vars(layer).keys() == before.keys()
    assert vars(layer).get("_old_forward") == before.get("_old_forward")


@pytest.mark.parametrize("kind", [Inheriting, FalconLinear])
@pytest.mark.parametrize(
    "duplicate",
    [lambda layer: layer, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))],
    ids=["itself", "deepcopy", "pickle"],
)
def test_subclasses_stay_what_they_are(kind, duplicate, projections):
    """A subclass that computes what nn.Linear does becomes a sketched one of its own kind."""
    layer, x = kind(8, 4), torch.randn(32, 8)
    expected = layer(x)
    rmmbench.convert(nn.Sequential(layer), sketch="oporp", rho=0.5)
    layer = duplicate(layer)
    assert isinstance(layer, kind)
    assert isinstance(layer, RMMLinear)
    assert layer.settings == HALF
    torch.testing.assert_close(layer(x), expected)
    assert projections == [(16, 8)]


def test_what_a_subclass_says_of_itself():
    """The description is the subclass's, and the sketch."""
    model = rmmbench.convert(nn.Sequential(Inheriting(8, 4)), sketch="oporp", rho=0.5)
    assert "RMMLinearOfInheriting(" in repr(model)
    assert "bias=True, more, sketch=oporp, rho=0.5" in repr(model)
