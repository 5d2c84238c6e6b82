"""A transformers config can be changed in the name of the model, and slips are told."""

import pytest

from rmmbench import models
from rmmbench.fakes.mode import fake_tensors
from rmmbench.models import _configs
from rmmbench.spec.case import Case

SMALL = "llama:hidden_size=64,intermediate_size=96,num_hidden_layers=1,num_attention_heads=4"


def parameters(name):
    """Return how many parameters the model of a name has, without memory."""
    with fake_tensors():
        built = models.build(Case(model=name, batch_size=1, seq_len=8))
        return sum(parameter.numel() for parameter in built.model.parameters())


def test_a_name_changes_a_config():
    """Values are read as numbers, truth values and words, and what follows from them follows."""
    changes = "num_key_value_heads=2,tie_word_embeddings=true,rms_norm_eps=1,hidden_act=gelu"
    config = _configs.named(f"{SMALL},{changes}")
    assert (config.hidden_size, config.num_key_value_heads, config.head_dim) == (64, 2, 16)
    assert config.tie_word_embeddings is True
    assert config.rms_norm_eps == 1.0
    assert config.hidden_act == "gelu"


def test_the_model_has_the_changed_sizes():
    """The model that is built is the changed one: ties, biases and the head are seen in it."""
    plain = parameters(f"hf:{SMALL},vocab_size=100")
    assert parameters(f"hf:{SMALL},vocab_size=100,tie_word_embeddings=true") == plain - 6400
    architecture = "architectures=LlamaForSequenceClassification"
    assert parameters(f"hf:{SMALL},vocab_size=100,{architecture}") == plain - 6400 + 2 * 64


@pytest.mark.parametrize(
    ("changes", "billions"),
    [
        ("hidden_size=4096,intermediate_size=14336,num_key_value_heads=8,vocab_size=128256", 8.03),
        (
            "hidden_size=8192,intermediate_size=28672,num_hidden_layers=80,num_attention_heads=64,"
            "num_key_value_heads=8,vocab_size=128256",
            70.55,
        ),
    ],
)
def test_large_shapes_have_their_published_size(changes, billions):
    """Llama 3's 8 and 70 billion parameters come out of a name."""
    assert parameters(f"hf:llama:{changes}") / 1e9 == pytest.approx(billions, abs=0.005)


def test_a_directory_takes_changes_too(small_hf):
    """A config.json of one's own can be changed as one that transformers names."""
    name = small_hf("bert").removeprefix("hf:")
    assert _configs.named(f"{name}:num_hidden_layers=3").num_hidden_layers == 3
    assert _configs.named(name).num_hidden_layers != 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            "hiden_size=64",
            "the config of 'llama' has no key 'hiden_size' that a name can change; did you mean "
            "'hidden_size'?",
        ),
        ("hidden_size=wide", "'hidden_size' must be a whole number, got 'wide'"),
        ("tie_word_embeddings=1", "'tie_word_embeddings' must be true or false, got '1'"),
        ("hidden_size=64,12", "a change of a config must be given as key=value, got '12'"),
        ("hidden_size=", "a change of a config must be given as key=value, got 'hidden_size='"),
        (
            "rope_parameters=2",
            "'rope_parameters' of the config of 'llama' holds a dict; write a config.json and give "
            "its directory",
        ),
        (
            "hidden_size=100",
            "hf:llama:hidden_size=100 is no config that transformers takes: ValueError: The hidden "
            "size (100) is not a multiple of the number of attention heads (32).",
        ),
    ],
)
def test_a_change_that_cannot_be_is_told(changes, message):
    """The error says what must hold and what was given."""
    with pytest.raises(ValueError, match=r".") as caught:
        models.check(Case(model=f"hf:llama:{changes}", batch_size=1, seq_len=8))
    assert str(caught.value) == message
