"""convert changes the linear layers it is asked to change, and nothing else."""

import copy
import logging

import pytest
import torch
import transformers
from torch import nn

import rmmbench
from rmmbench.nn import RMMConv1D, RMMLinear, converted_layers, exact_layers


class OwnLinear(nn.Linear):
    """A subclass with a forward pass of its own, which may do anything."""

    def forward(self, input):
        """Double the product."""
        return 2 * super().forward(input)


def small_model():
    """Return two blocks of two linear layers, and a subclass of one."""
    blocks = [nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)) for _ in range(2)]
    return nn.Sequential(*blocks, OwnLinear(8, 4))


def test_returns_the_same_model_and_parameters():
    """The model and every module and parameter stay the objects they were."""
    model = small_model()
    modules, parameters = list(model.modules()), list(model.parameters())
    assert rmmbench.convert(model, rho=0.5) is model
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert list(converted_layers(model)) == ["0.0", "0.2", "1.0", "1.2"]


def test_leaves_what_computes_something_else():
    """A subclass of nn.Linear may compute something else, so it is left alone."""
    model = rmmbench.convert(small_model(), rho=0.5)
    assert type(model[2]) is OwnLinear
    attention = nn.MultiheadAttention(8, 2)
    with pytest.raises(ValueError, match=r"no torch.nn.Linear or transformers Conv1D"):
        rmmbench.convert(attention, rho=0.5)


def test_keeps_requires_grad_hooks_mode_and_ties():
    """Frozen weights stay frozen, hooks still run, eval stays eval, tied weights stay tied."""
    model = small_model()
    model[0][0].weight.requires_grad_(False)
    model[0][2].weight = model[1][2].weight
    calls = []
    model[1][0].register_forward_hook(lambda *_: calls.append("forward"))
    model.eval()
    rmmbench.convert(model, rho=0.5)
    assert not model[0][0].weight.requires_grad
    assert model[0][2].weight is model[1][2].weight
    assert not model[1][0].training
    model.train()(torch.randn(32, 8)).sum().backward()
    assert calls == ["forward"]
    assert model[0][0].weight.grad is None
    assert model[1][0].weight.grad is not None


def test_shared_module_is_converted_once():
    """A module that stands in two places stays one module."""
    layer = nn.Linear(8, 8)
    model = rmmbench.convert(nn.Sequential(layer, nn.ReLU(), layer), rho=0.5)
    assert model[0] is model[2] is layer
    assert type(layer) is RMMLinear


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ("0.*", None, ["0.0", "0.2"]),
        (["*.2"], None, ["0.2", "1.2"]),
        (None, "1.*", ["0.0", "0.2"]),
        (["0.*", "1.0"], ["*.2"], ["0.0", "1.0"]),
    ],
)
def test_patterns(include, exclude, expected):
    """Patterns of include and exclude choose layers by qualified name."""
    model = rmmbench.convert(small_model(), rho=0.5, include=include, exclude=exclude)
    assert list(converted_layers(model)) == expected


def test_patterns_that_match_nothing():
    """A pattern that leaves nothing to convert is told, with the names there are."""
    with pytest.raises(ValueError, match=r"no layer matches include=\['encoder.*0.0, 0.2"):
        rmmbench.convert(small_model(), rho=0.5, include="encoder.*")


def test_converting_twice_is_told():
    """A second conversion has nothing left to do, and says so."""
    model = rmmbench.convert(small_model()[:2], rho=0.5)
    with pytest.raises(ValueError, match="all 4 linear layers of the model are sketched already"):
        rmmbench.convert(model, rho=0.1)


def test_wrong_settings_change_nothing():
    """Settings are checked before the first layer is changed."""
    model = small_model()
    with pytest.raises(ValueError, match="rho must be in"):
        rmmbench.convert(model, rho=2.0)
    assert not converted_layers(model)


def test_passes_settings_on():
    """Every layer gets the settings that were given, blocks among them."""
    settings = {"sketch": "rademacher", "proj_dim": 8, "max_proj_dim": 16, "block_rows": 4}
    model = rmmbench.convert(small_model(), **settings)
    found = {layer.settings for layer in converted_layers(model).values()}
    assert [one.given() | settings for one in found] == [one.given() for one in found]
    model(torch.randn(32, 8)).sum().backward()
    with pytest.raises(ValueError, match="'dct' takes no block_rows, got 4"):
        rmmbench.convert(small_model(), sketch="dct", rho=0.5, block_rows=4)


def test_says_what_it_converted(caplog):
    """The log names sketch and layers, and what cannot be converted."""
    with caplog.at_level(logging.INFO, "rmmbench"):
        rmmbench.convert(small_model(), sketch="dct", rho=0.5, include="0.*")
    assert caplog.messages == [
        "2 of 4 linear layers keep a dct sketch: 0.0, 0.2",
        "layers that read one tensor share its sketch within 0",
        "left out: 1, as OwnLinear has a forward pass of its own",
    ]


def test_gpt2_conv1d():
    """GPT-2's transposed layers are converted: exact outputs, and a gradient of the right mean."""
    sizes = {"n_layer": 1, "n_embd": 16, "n_head": 2, "vocab_size": 50, "n_positions": 32}
    tokens = {"bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **tokens)).eval()
    ids = torch.randint(3, 50, (4, 16))
    expected = model(ids).logits
    layer = model.transformer.h[0].mlp.c_fc
    model(ids, labels=ids).loss.backward()
    exact = layer.weight.grad.clone()
    rmmbench.convert(model, rho=0.5)
    assert type(layer) is RMMConv1D
    assert type(model.lm_head) is RMMLinear
    assert model.lm_head.weight is model.transformer.wte.weight
    torch.testing.assert_close(model(ids).logits, expected)
    for module in converted_layers(model).values():
        module.train()  # the layers alone: dropout stays off
    along = []
    for _ in range(100):
        model.zero_grad()
        model(ids, labels=ids).loss.backward()
        along.append((layer.weight.grad * exact).sum() / exact.square().sum())
    ratios = torch.stack(along)
    standard_error = (ratios.std() / 10).item()
    assert standard_error < 0.1
    assert abs(ratios.mean().item() - 1) <= 5 * standard_error
    assert "nf=64, nx=16, sketch=gaussian, rho=0.5" in repr(layer)


def test_exact_layers():
    """Within exact_layers a converted model has the exact gradients; after it, sketched ones."""
    model = small_model()
    unchanged = copy.deepcopy(model)
    rmmbench.convert(model, rho=0.5)
    x = torch.randn(32, 8)
    unchanged(x).square().sum().backward()
    expected = unchanged[0][0].weight.grad
    with exact_layers(model):
        model(x).square().sum().backward()
    torch.testing.assert_close(model[0][0].weight.grad, expected)
    model.zero_grad()
    model(x).square().sum().backward()
    assert not torch.allclose(model[0][0].weight.grad, expected)


def test_converted_model_survives_compile_and_copy():
    """A converted model can be compiled in one graph and copied."""
    model = rmmbench.convert(small_model(), rho=0.5)
    torch.compile(copy.deepcopy(model), fullgraph=True, backend="eager")(torch.randn(32, 8))
