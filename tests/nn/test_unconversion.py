"""unconvert, update and inspect: converted layers seen, changed and made plain again."""

import copy
import pickle

import pytest
import torch
import transformers
from torch import nn
from transformers.pytorch_utils import Conv1D

import rmmbench
from rmmbench.models.model import Built
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.grid import case_from


class Plain(nn.Linear):
    """A subclass that computes what nn.Linear does."""


def qkv():
    """Return a block whose two layers read one tensor, and one layer after it."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.out = nn.Linear(8, 8), Plain(8, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.out(self.q(x) * self.k(x))

    return Block()


def test_unconverted_model_is_what_it_was():
    """Classes, parameters, state and attributes are those before convert; no hook stays."""
    model = qkv()
    before = {name: (type(m), set(vars(m))) for name, m in model.named_modules()}
    parameters, hook = dict(model.named_parameters()), lambda *_: None
    model.q.register_forward_hook(hook)
    rmmbench.convert(model, rho=0.5)
    assert rmmbench.unconvert(model) is model
    assert {name: (type(m), set(vars(m))) for name, m in model.named_modules()} == before
    assert all(p is parameters[name] for name, p in model.named_parameters())
    assert list(model.q._forward_hooks.values()) == [hook]
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert not model._forward_hooks_always_called


def test_what_stands_for_itself_becomes_plain_too():
    """RMMLinear becomes nn.Linear, a converted Conv1D transformers' own; copies as the original."""
    assert type(rmmbench.unconvert(rmmbench.RMMLinear(8, 4, rho=0.5))) is nn.Linear
    model = rmmbench.convert(nn.Sequential(Conv1D(4, 8)), rho=0.5)
    assert type(rmmbench.unconvert(model)[0]) is Conv1D
    shared = rmmbench.convert(qkv(), rho=0.5)
    for clone in (copy.deepcopy(shared),):
        rmmbench.unconvert(clone)
        assert type(clone.k) is Plain
        assert not clone._forward_hooks
    assert type(shared.q) is rmmbench.RMMLinear


def test_layer_can_be_pickled_after_it_was_unconverted():
    """A layer that is plain again is pickled as one."""
    layer = rmmbench.unconvert(rmmbench.convert(nn.Sequential(nn.Linear(8, 4)), rho=0.5))
    assert type(pickle.loads(pickle.dumps(layer))[0]) is nn.Linear


def test_somebodys_own_layer_is_refused_before_anything_changes():
    """A subclass of RMMLinear has nothing plain behind it."""

    class Own(rmmbench.RMMLinear):
        pass

    model = nn.Sequential(rmmbench.RMMLinear(8, 4, rho=0.5), Own(4, 4, rho=0.5))
    with pytest.raises(ValueError, match="layer '1' must have been made by convert"):
        rmmbench.unconvert(model)
    assert type(model[0]) is rmmbench.RMMLinear


def test_update_changes_chosen_layers_and_keeps_the_rest():
    """Patterns choose; rho takes the place of proj_dim; what is not named stays."""
    model = rmmbench.convert(qkv(), sketch="oporp", proj_dim=4, max_proj_dim=32)
    assert rmmbench.update(model, rho=0.25, include="q") is model
    assert (
        model.q.settings._asdict() | {"rho": 0.25, "proj_dim": None} == model.q.settings._asdict()
    )
    assert model.q.settings.max_proj_dim == 32
    assert (model.k.settings.proj_dim, model.k.settings.rho) == (4, None)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"rhoo": 0.5}, TypeError, "no setting named 'rhoo'; did you mean 'rho'"),
        ({"rho": 0.2, "sketch": "fft"}, ValueError, "no sketch named 'fft'; did you mean 'dft'"),
        ({"rho": 2.0}, ValueError, "rho must be in"),
        ({"rho": 0.1, "include": "nothing"}, ValueError, "no layer matches"),
        ({}, ValueError, "must be given a setting"),
    ],
)
def test_update_refused_changes_nothing(settings, error, said):
    """Whatever is wrong is told in a line, and every layer is as before."""
    model = rmmbench.convert(qkv(), rho=0.5)
    before = [model.q.settings, model.k.settings, model.out.settings]
    with pytest.raises(error, match=said):
        rmmbench.update(model, **settings)
    assert [model.q.settings, model.k.settings, model.out.settings] == before
    with pytest.raises(ValueError, match="convert it first"):
        rmmbench.update(qkv(), rho=0.5)


def test_updated_layers_keep_less():
    """The next forward pass uses the new ρ."""
    model = rmmbench.convert(qkv(), rho=0.5)
    example = torch.zeros(64, 8)
    at_half = rmmbench.inspect(model, example).kept_bytes
    assert rmmbench.inspect(rmmbench.update(model, rho=0.25), example).kept_bytes < 0.6 * at_half


def test_inspect_tells_bytes_and_company():
    """Kept bytes are those that autograd saves; layers of one tensor share them."""
    model = rmmbench.convert(qkv(), sketch="oporp", rho=0.5).eval()
    rmmbench.manual_seed(0)
    layers = {each.layer: each for each in rmmbench.inspect(model, torch.zeros(64, 8))}
    assert layers["q"].shares_with == ("k",)
    assert layers["k"].shares_with == ("q",)
    assert layers["q"].kept_bytes == layers["out"].kept_bytes == 32 * 8 * 4 + 8
    assert layers["k"].kept_bytes == 0
    assert not model.training
    assert model.q.weight.grad is None


def test_inspect_without_an_example_knows_settings_only():
    """What layers keep shows in a forward pass; without one it is None."""
    found = rmmbench.inspect(rmmbench.convert(qkv(), rho=0.5))
    assert [each.layer for each in found] == ["q", "k", "out"]
    assert all(each.kept_bytes is None and each.shares_with == () for each in found)
    assert found.kept_bytes is None
    assert rmmbench.inspect(qkv()) == []


def test_inspection_shows_itself():
    """In a terminal it is a table of text, in a notebook one of HTML."""
    found = rmmbench.inspect(rmmbench.convert(qkv(), rho=0.5), torch.zeros(64, 8))
    assert "sketch=gaussian, rho=0.5" in repr(found)
    assert repr(found).splitlines()[0].split()[0] == "layer"
    assert found._repr_html_().count("<tr>") == 4


def test_advise_names_what_convert_would_choose():
    """The advice on a model is what where="beneficial" follows."""
    config = transformers.RobertaConfig(
        vocab_size=100,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=256,
    )
    model = transformers.RobertaForSequenceClassification(config)
    ones = torch.ones(64, 64, dtype=torch.long)
    example = {"input_ids": ones, "labels": ones[:, 0]}
    advice = rmmbench.advise(model, example, sketch="oporp", rho=0.5)
    rmmbench.convert(model, sketch="oporp", rho=0.5, where="beneficial", example=example)
    assert advice.beneficial == [each.layer for each in rmmbench.inspect(model)]
    assert "leave: a sketch would save less than 64.0 KiB" in repr(advice)


@pytest.mark.parametrize("method", ["exact-rp", "prac", "velora"])
def test_other_methods_layers_are_seen_and_undone(method):
    """What other methods convert is inspected, and becomes what it was, like a sketch."""
    model = qkv()
    before = {name: (type(m), set(vars(m))) for name, m in model.named_modules()}
    keys, buffers = set(model.state_dict()), dict(model.named_buffers())
    converted(model, method)
    layers = {each.layer: each for each in rmmbench.inspect(model, torch.zeros(64, 8))}
    assert set(layers) == {"q", "k", "out"}
    assert 0 < layers["q"].kept_bytes < 64 * 8 * 4
    rmmbench.unconvert(model)
    assert {name: (type(m), set(vars(m))) for name, m in model.named_modules()} == before
    assert (set(model.state_dict()), dict(model.named_buffers())) == (keys, buffers)
    with pytest.raises(ValueError, match="convert it first"):
        rmmbench.update(converted(qkv(), method), rho=0.5)


def converted(model, method):
    """Return the model with a method applied to it, as a case would."""
    case = case_from({"model": "mlp:8-8", "batch_size": 8, "method": method} | SETTINGS[method])
    built = Built(model, lambda: {"x": torch.zeros(64, 8)})
    draft = Draft(case, lambda stage: None)
    return prepare(draft, "cpu", foreach=True, build=lambda case: built).model


SETTINGS = {"exact-rp": {"rho": 0.5}, "prac": {"rho": 0.25}, "velora": {"group_size": 4}}
