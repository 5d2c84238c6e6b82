"""Method rmm: the case's layers, sketch, size and sharing."""

import pytest
import torch
from torch import nn

from rmmbench import methods
from rmmbench.nn import RMMLinear, converted_layers
from rmmbench.nn.conv1d import RMMConv1D

pytestmark = pytest.mark.usefixtures("one_thread")


def test_rmm_converts_both_kinds_of_linear_layers(small_hf, case, made):
    """GPT-2's four Conv1D a block and its head are sketched, and counted."""
    wanted = case(small_hf("gpt2", n_layer=2), "rmm", seq_len=8)
    model, batch = made(wanted)
    assert methods.stack(wanted.steps).apply(model, batch) == 2 * 4 + 1
    kinds = [type(layer) for layer in converted_layers(model).values()]
    assert kinds.count(RMMConv1D) == 8
    assert kinds.count(RMMLinear) == 1
    assert not [m for m in model.modules() if type(m) is nn.Linear]


def test_rmm_takes_the_cases_settings(case, made):
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
    methods.stack(wanted.steps).apply(model, batch)
    for layer in converted_layers(model).values():
        assert layer.settings == ("rademacher", None, 5, 3, 9, (("block_rows", 8),), 8, None)


@pytest.mark.parametrize("share", [True, False])
def test_rmm_shares_as_the_case_says(share, case, made):
    """Q, K and V of a block share what they keep, or each keeps its own."""
    wanted = case("roberta-tiny", "rmm", seq_len=8, share=share)
    model, batch = made(wanted)
    methods.stack(wanted.steps).apply(model, batch)
    layers = converted_layers(model)
    parts = [layers[f"roberta.encoder.layer.0.attention.self.{name}"] for name in ("query", "key")]
    assert (parts[0].shared is parts[1].shared is not None) == share
    assert (parts[0].shared is None) == (not share)


def test_rmm_converts_what_gains(case, made):
    """Of an MLP the first layer reads the batch, which is kept anyway; the others gain."""
    wanted = case("mlp:6-512-512-4", "rmm", where="beneficial", batch_size=64)
    model, batch = made(wanted)
    before = {key: value.clone() for key, value in batch.items()}
    assert methods.stack(wanted.steps).apply(model, batch) == 2
    assert list(converted_layers(model)) == ["layers.1", "layers.2"]
    torch.testing.assert_close(batch, before)


def test_patterns_that_match_nothing_are_told(case, made):
    """A method that would change nothing says so, and names the layers there are."""
    wanted = case("mlp:6-8-4", "rmm", include=["encoder.*"])
    model, batch = made(wanted)
    with pytest.raises(ValueError, match=r"no layer matches include=\['encoder\.\*'\].*layers\.0"):
        methods.stack(wanted.steps).apply(model, batch)
