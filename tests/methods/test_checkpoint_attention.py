"""Attention that is computed again: what it keeps, and the models that it is not for."""

import copy

import pytest
import torch
import transformers
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rmmbench import methods, models
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.nn.recomputed_attention import NAME
from rmmbench.spec.case import Case

METHOD = "checkpoint-attention"


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


def case(model, method=METHOD, **settings):
    """Return a case of four sequences of eight tokens."""
    data = {"model": model, "method": method, "batch_size": 4, "seq_len": 8}
    return Case.model_validate(data | settings)


def built(wanted):
    """Return the unchanged model of a case, training, and a batch."""
    torch.manual_seed(0)
    model, make_batch, *_ = models.build(wanted)
    return model.train(), make_batch()


def saved(wanted):
    """Return the predicted bytes that a forward pass leaves behind."""

    def prepare():
        model, batch = built(wanted)
        methods.stack(wanted.steps).apply(model, batch)
        return TrainingStep(model, batch, make_optimizer("sgd", model.parameters(), foreach=True))

    return predict_memory(prepare).saved_bytes


def test_no_probabilities_are_kept():
    """What is gone, of each layer: probabilities, what dropout left of them, and its mask."""
    shape = {"batch_size": 3, "seq_len": 40}
    exact, found = (saved(case("roberta-tiny", name, **shape)) for name in ("exact", METHOD))
    layers_heads = 2 * 3 * 2
    # On the CPU the mask is of the same type.
    assert exact - found == layers_heads * 40 * 40 * 3 * 4


def test_keys_of_fewer_heads_are_kept_as_they_are(small_hf):
    """Keys and values that heads share are repeated for the computation alone."""
    name = small_hf("llama")
    exact, found = (saved(case(name, how, seq_len=32)) for how in ("exact", METHOD))
    # Repeated, two heads' keys and values of 16 numbers are four heads'.
    repeated = 2 * (4 * 4 * 32 * 16) * 4
    assert exact - found > repeated


def test_every_config_of_a_model_is_found():
    """An encoder and a decoder whose configs are copies of one both compute attention again."""
    sizes = {"num_layers": 1, "d_model": 64, "d_ff": 128, "num_heads": 4, "d_kv": 16}
    config = transformers.T5Config(**sizes, vocab_size=50)
    kind = transformers.T5ForConditionalGeneration
    model = kind._from_config(config, attn_implementation="eager")
    assert methods.stack(case("hf:t5").steps).apply(model, {}) == 3
    assert model.encoder.config is not model.decoder.config
    assert {model.encoder.config._attn_implementation} == {NAME}
    assert {model.decoder.config._attn_implementation} == {NAME}


def test_the_reference_puts_the_eager_function_back():
    """In the reference, and not after it, an error or not, attention is the model's own."""
    wanted = case("roberta-tiny")
    model, batch = built(wanted)
    methods.stack(wanted.steps).apply(model, batch)
    changed = copy.deepcopy(model)

    def fail_in_the_reference():
        with methods.get(METHOD).reference(changed):
            assert changed.config._attn_implementation == "eager"
            raise KeyError(METHOD)

    with pytest.raises(KeyError):
        fail_in_the_reference()
    assert changed.config._attn_implementation == model.config._attn_implementation == NAME


def test_it_is_called_once_more(monkeypatch):
    """Each layer's eager function runs in the forward pass and again in the backward pass."""
    wanted = case("roberta-tiny")
    model, batch = built(wanted)
    file = transformers.models.roberta.modeling_roberta
    eager, calls = file.eager_attention_forward, []

    def counted(*args, **settings):
        calls.append(settings["dropout"])
        return eager(*args, **settings)

    monkeypatch.setattr(file, "eager_attention_forward", counted)
    methods.stack(wanted.steps).apply(model, batch)
    loss = model(**batch).loss
    assert calls == [0.1] * 2
    loss.backward()
    assert calls == [0.1] * 4
    with methods.get(METHOD).reference(model):
        model(**batch).loss.backward()
    assert calls == [0.1] * 6


def test_attentions_can_be_asked_for():
    """The probabilities that a model returns are the unchanged model's."""
    wanted = case("roberta-tiny")
    model, batch = built(wanted)
    model.eval()
    expected = model(**batch, output_attentions=True).attentions
    methods.stack(wanted.steps).apply(model, batch)
    torch.testing.assert_close(model(**batch, output_attentions=True).attentions, expected)


def test_a_kernel_for_attention_is_refused():
    """With attention='sdpa' no probabilities are kept anyway, and the message says so."""
    wanted = case("roberta-tiny", attention="sdpa")
    model, batch = built(wanted)
    with pytest.raises(ValueError, match="'sdpa', which keeps no probabilities; choose attention"):
        methods.stack(wanted.steps).apply(model, batch)


@pytest.mark.parametrize("model", ["mlp:6-8-4", "linear:6x4"])
def test_a_model_without_attention_is_refused(model):
    """What must hold, what was given, and what to do, in one line."""
    wanted = case(model)
    unchanged, batch = built(wanted)
    with pytest.raises(
        ValueError, match=rf"{METHOD} must find attention .*, and the model has none; choose"
    ):
        methods.stack(wanted.steps).apply(unchanged, batch)


def test_attention_of_ones_own_is_refused():
    """A model whose attention is its own cannot be told what to call."""
    wanted = case("import:somewhere:factory")
    with pytest.raises(ValueError, match="functions, and the model has none"):
        methods.stack(wanted.steps).apply(nn.MultiheadAttention(8, 2), {})


def test_attention_that_asks_for_a_name_is_refused():
    """A GPT-2 that reorders its products does so if its function is called 'eager' alone."""
    sizes = {"n_layer": 1, "n_embd": 64, "n_head": 2, "vocab_size": 50}
    config = transformers.GPT2Config(**sizes, reorder_and_upcast_attn=True)
    with pytest.raises(ValueError, match="is called, and GPT2Attention does; choose"):
        methods.stack(case("hf:gpt2").steps).apply(
            transformers.GPT2LMHeadModel._from_config(config, attn_implementation="eager"), {}
        )


def test_other_models_keep_their_attention():
    """What is registered is a name of its own: eager attention elsewhere stays as it was."""
    wanted = case("roberta-tiny")
    changed, batch = built(wanted)
    other, _ = built(wanted)
    methods.stack(wanted.steps).apply(changed, batch)
    assert other.config._attn_implementation == "eager"
    assert "eager" not in ALL_ATTENTION_FUNCTIONS
