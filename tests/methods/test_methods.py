"""The contract of every method; adding one to the registry buys all of this."""

import copy

import pytest
import torch
from torch import nn

from rmmbench import methods, models
from rmmbench.case import Case
from rmmbench.errors import UnknownNameError
from rmmbench.nn import RMMLinear, converted_layers
from rmmbench.nn.conv1d import RMMConv1D

every_method = pytest.mark.parametrize("name", methods.names())

# Of settings that a method does not have it takes no notice.
SETTINGS = {"sketch": "gaussian", "rho": 0.3}


def case(model, method, **settings):
    """Return a case of 16 rows or samples."""
    data = {"model": model, "method": method, "batch_size": 16} | SETTINGS
    return Case.model_validate(data | settings)


def gradients(model, batch):
    """Return the gradient of every parameter, as training gives it, with dropout drawn alike."""
    torch.manual_seed(5)
    model.zero_grad(set_to_none=True)
    output = model(**batch)
    loss = output if isinstance(output, torch.Tensor) else output.loss
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def made(wanted):
    """Return the unchanged model of a case, training, and a batch."""
    torch.manual_seed(0)
    built = models.build(wanted)
    return built.model.train(), built.make_batch()


@every_method
@pytest.mark.parametrize(
    ("model", "seq_len"), [("mlp:6-8-8-4", None), ("linear:6x4", 3), ("roberta-tiny", 8)]
)
def test_the_reference_is_the_unchanged_model(name, model, seq_len):
    """Within the reference a changed model has the unchanged one's gradients; after it, its own."""
    wanted = case(model, name, seq_len=seq_len)
    unchanged, batch = made(wanted)
    changed = copy.deepcopy(unchanged)
    method = methods.get(name)
    layers = method.apply(changed, wanted, batch)
    assert (layers == 0) == (name == "exact")
    exact = gradients(unchanged, batch)
    with method.reference(changed):
        torch.testing.assert_close(gradients(changed, batch), exact)
    if name == "rmm":
        after = gradients(changed, batch)
        assert any(not torch.allclose(after[key], exact[key]) for key in exact)


@every_method
def test_the_reference_ends_with_an_error(name):
    """An error in the reference leaves a model that trains by its method again."""
    wanted = case("mlp:6-8-4", name)
    model, batch = made(wanted)
    method = methods.get(name)
    method.apply(model, wanted, batch)

    def fail_in_the_reference():
        with method.reference(model):
            assert all(layer.exact for layer in converted_layers(model).values())
            raise KeyError(name)

    with pytest.raises(KeyError):
        fail_in_the_reference()
    assert not any(layer.exact for layer in converted_layers(model).values())


@every_method
def test_parameters_stay_the_same_objects(name):
    """A method changes what is kept, not what is trained."""
    wanted = case("roberta-tiny", name, seq_len=8)
    model, batch = made(wanted)
    before = {key: id(parameter) for key, parameter in model.named_parameters()}
    methods.get(name).apply(model, wanted, batch)
    assert {key: id(parameter) for key, parameter in model.named_parameters()} == before


def test_an_unknown_method_is_named_with_the_nearest():
    """A slip gives the right name and all others."""
    with pytest.raises(UnknownNameError, match="no method named 'rrm'; did you mean 'rmm'"):
        methods.get("rrm")


def test_rmm_converts_both_kinds_of_linear_layers(small_hf):
    """GPT-2's four Conv1D a block and its head are sketched, and counted."""
    wanted = case(small_hf("gpt2", n_layer=2), "rmm", seq_len=8)
    model, batch = made(wanted)
    assert methods.get("rmm").apply(model, wanted, batch) == 2 * 4 + 1
    kinds = [type(layer) for layer in converted_layers(model).values()]
    assert kinds.count(RMMConv1D) == 8
    assert kinds.count(RMMLinear) == 1
    assert not [m for m in model.modules() if type(m) is nn.Linear]


@pytest.mark.parametrize(
    ("patterns", "converted"),
    [
        ({}, ["layers.0", "layers.1", "layers.2"]),
        ({"include": ["layers.[12]"]}, ["layers.1", "layers.2"]),
        ({"exclude": ["*.0"]}, ["layers.1", "layers.2"]),
        ({"include": ["layers.*"], "exclude": ["*.0", "*.2"]}, ["layers.1"]),
    ],
)
def test_rmm_respects_the_cases_patterns(patterns, converted):
    """Only layers that the patterns let through are sketched, and the count is of them."""
    wanted = case("mlp:6-8-8-4", "rmm", **patterns)
    model, batch = made(wanted)
    assert methods.get("rmm").apply(model, wanted, batch) == len(converted)
    assert list(converted_layers(model)) == converted


def test_rmm_takes_the_cases_settings():
    """Sketch and size are the case's, in every layer."""
    wanted = case(
        "mlp:6-8-4",
        "rmm",
        sketch="rademacher",
        rho=None,
        proj_dim=5,
        min_proj_dim=3,
        max_proj_dim=9,
        block_rows=8,
    )
    model, batch = made(wanted)
    methods.get("rmm").apply(model, wanted, batch)
    for layer in converted_layers(model).values():
        assert layer.settings == ("rademacher", None, 5, 3, 9, 8)


@pytest.mark.parametrize("share", [True, False])
def test_rmm_shares_as_the_case_says(share):
    """Q, K and V of a block share what they keep, or each keeps its own."""
    wanted = case("roberta-tiny", "rmm", seq_len=8, share=share)
    model, batch = made(wanted)
    methods.get("rmm").apply(model, wanted, batch)
    layers = converted_layers(model)
    parts = [layers[f"roberta.encoder.layer.0.attention.self.{name}"] for name in ("query", "key")]
    assert (parts[0].shared is parts[1].shared is not None) == share
    assert (parts[0].shared is None) == (not share)


def test_rmm_converts_what_gains():
    """Of an MLP the first layer reads the batch, which is kept anyway; the others gain."""
    wanted = case("mlp:6-8-8-4", "rmm", where="beneficial")
    model, batch = made(wanted)
    before = {key: value.clone() for key, value in batch.items()}
    assert methods.get("rmm").apply(model, wanted, batch) == 2
    assert list(converted_layers(model)) == ["layers.1", "layers.2"]
    torch.testing.assert_close(batch, before)


@every_method
@pytest.mark.parametrize("where", ["all", "beneficial"])
def test_a_method_draws_no_random_numbers(name, where):
    """Parameters, batches and dropout are the same whatever method a case asks for."""
    wanted = case("mlp:6-8-8-4", name, where=where)
    model, batch = made(wanted)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    methods.get(name).apply(model, wanted, batch)
    torch.testing.assert_close(torch.rand(4), expected, rtol=0, atol=0)


def test_patterns_that_match_nothing_are_told():
    """A method that would change nothing says so, and names the layers there are."""
    wanted = case("mlp:6-8-4", "rmm", include=["encoder.*"])
    model, batch = made(wanted)
    with pytest.raises(ValueError, match=r"no layer matches include=\['encoder\.\*'\].*layers\.0"):
        methods.get("rmm").apply(model, wanted, batch)
