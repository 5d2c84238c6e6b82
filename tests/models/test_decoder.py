"""The decoder of bytes, and weights that were trained before."""

import pytest
import torch
import transformers

from rmmbench.models import build, check
from rmmbench.spec.case import Case

TEXT = {"model": "decoder:2x64", "task": "text", "batch_size": 2, "seq_len": 16}


def case(**settings):
    """Return a small case of text."""
    return Case.model_validate(TEXT | settings)


def test_a_decoder_predicts_the_next_byte():
    """It has as many layers and as much width as asked for, and a logit a byte."""
    built = build(case(model="decoder:3x128"))
    assert built.model.config.num_hidden_layers == 3
    assert built.model.config.hidden_size == 128
    output = built.model(**built.make_batch())
    assert output.logits.shape == (2, 16, 256)
    # Untrained it knows nothing: 8 bits a byte.
    assert output.loss.item() == pytest.approx(torch.log(torch.tensor(256.0)).item(), rel=0.05)


def test_a_large_decoder_is_of_the_size_that_it_says():
    """Twelve layers of 768 are the 85 million parameters of the docstring, but for the bytes."""
    with torch.device("meta"):
        model = build(case(model="decoder:12x768")).model
    count = sum(each.numel() for each in model.parameters())
    assert count == pytest.approx(85e6, rel=0.02)


def test_a_decoder_may_have_a_vocabulary():
    """The third size is the tokens there are, in the batch and among the logits."""
    with torch.device("meta"):
        model = build(case(model="decoder:22x2048x32000")).model
    assert sum(each.numel() for each in model.parameters()) == pytest.approx(1.24e9, rel=0.01)
    built = build(case(model="decoder:1x64x500", batch_size=8))
    batch = built.make_batch()
    assert 256 < batch["input_ids"].max() < 500
    assert built.model(**batch).logits.shape == (8, 16, 500)


@pytest.mark.parametrize("argument", ["4", "x128", "4x100", "0x128", "4x128x0", "4x128x2x2"])
def test_a_wrong_size_is_told(argument):
    """Two or three numbers, and heads of 64 fit the width."""
    with pytest.raises(ValueError, match=f"LAYERSxWIDTH.*got 'decoder:{argument}'"):
        check(case(model=f"decoder:{argument}"))


@pytest.fixture
def checkpoint(tmp_path):
    """A directory with the weights of a tiny RoBERTa's language model."""
    built = build(Case(model="roberta-tiny", batch_size=2, seq_len=8))
    model = transformers.RobertaForMaskedLM(built.model.config)
    model.save_pretrained(tmp_path / "pretrained")
    return tmp_path / "pretrained", model.state_dict()


def test_a_checkpoint_gives_all_but_the_head(checkpoint):
    """What was pretrained is loaded; the classifier, which it does not have, is of the seed."""
    path, pretrained = checkpoint
    wanted = Case(
        model="roberta-tiny",
        task="digits",
        batch_size=2,
        seq_len=64,
        training={"checkpoint": str(path)},
    )
    state = build(wanted).model.state_dict()
    name = "roberta.encoder.layer.1.output.dense.weight"
    assert torch.equal(state[name], pretrained[name])
    assert state["classifier.out_proj.weight"].shape == (10, 128)


@pytest.mark.parametrize("model", ["roberta-base", "decoder:2x64"])
def test_a_checkpoint_of_other_sizes_is_told(checkpoint, model):
    """Weights that do not fit are no reason for a traceback, nor for silent random ones."""
    path, _ = checkpoint
    wanted = case(model=model, task="digits", seq_len=64, training={"checkpoint": str(path)})
    with pytest.raises(ValueError, match="checkpoint must be"):
        build(wanted)


def test_labels_are_those_of_the_task():
    """A transformers model by its config's name gets a head of the task's classes."""
    built = build(Case(model="hf:distilbert", task="mnli", batch_size=2, seq_len=8))
    assert built.model.config.num_labels == 3
