"""Text is the same for every length of window, and what is scored on is nowhere trained on."""

import math
import platform

import pytest
import torch

from rmmbench import data, models
from rmmbench.data.text import EVALUATION_BYTES, split
from rmmbench.errors import DataError
from rmmbench.spec.case import Case


def load(seq_len=128):
    """Return the text in windows."""
    return data.load(Case(model="m", task="text", batch_size=4, seq_len=seq_len))


def text_of(examples):
    """Return the bytes of windows that follow one another."""
    return b"".join(bytes(example["input_ids"].tolist()) for example in examples)


def words(paragraph):
    """Return a paragraph however its lines are broken."""
    return b" ".join(paragraph.split())


def test_no_paragraph_is_in_both_sets():
    """Not one paragraph of the evaluation is trained on, also with its lines broken elsewhere."""
    text = load()
    # Windows may cut the first and the last paragraph of a set in two.
    train = {words(paragraph) for paragraph in text_of(text.train).split(b"\n\n")}
    evaluation = [words(paragraph) for paragraph in text_of(text.evaluation).split(b"\n\n")]
    assert len(evaluation) > 20
    assert not train & {paragraph for paragraph in evaluation if paragraph}


def test_a_paragraph_that_comes_again_is_taken_once():
    """Pages that quote each other leave one copy, the first."""
    train, evaluation = split(["one two\nthree\n\nfour", "one\ntwo three\n\nfive\n\nfour\n\n\n"])
    assert train + evaluation == b"one two\nthree\n\nfour\n\nfive\n\n"


@pytest.mark.parametrize("seq_len", [63, 512, EVALUATION_BYTES])
def test_every_length_reads_the_same_text(seq_len):
    """The held out text does not depend on the window, but for the end that fills none."""
    reference, other = load(), load(seq_len)
    for one, two in ((reference.train, other.train), (reference.evaluation, other.evaluation)):
        longer, shorter = sorted((text_of(one), text_of(two)), key=len, reverse=True)
        assert longer.startswith(shorter)
        assert len(longer) - len(shorter) < max(seq_len, 128)
    assert len(text_of(other.evaluation)) > EVALUATION_BYTES - seq_len


def test_windows_are_their_own_labels():
    """A causal model of transformers shifts labels by itself."""
    text = load()
    batch = text.collate([text.train[0], text.train[3]])
    assert batch["input_ids"].shape == (2, 128)
    assert torch.equal(batch["input_ids"], batch["labels"])


def test_a_model_of_bytes_trains_on_it(small_hf):
    """A causal model of 256 tokens starts near the 8 bits a byte of knowing nothing."""
    torch.manual_seed(0)
    text = load(64)
    case = Case(model=small_hf("gpt2", vocab_size=256), batch_size=4, seq_len=64)
    model = models.build(case).model
    loss = model(**text.collate([text.evaluation[index] for index in range(32)])).loss.item()
    assert text.scoring.score(loss, None, None)["bits_per_byte"] == pytest.approx(8, abs=0.3)


def test_bits_are_the_loss_in_base_two():
    """A loss of ln 256 is 8 bits a byte, less is better, and no predictions are kept for it."""
    scoring = load().scoring
    assert scoring.score(math.log(256), None, None) == {"bits_per_byte": pytest.approx(8)}
    assert not scoring.higher_is_better
    assert not scoring.needs_predictions


def test_a_loss_that_is_no_number_is_no_score():
    """A run that has diverged has no bits per byte."""
    assert load().scoring.score(math.nan, None, None) == {}


def test_the_note_says_which_text():
    """The text differs between versions of Python, so the version and its size are told."""
    assert f"bytes of the help texts of Python {platform.python_version()}" in load().note
    assert int(load().note.split()[0]) > 200_000


def test_lengths_that_cannot_be_are_refused():
    """A window needs a byte to read and one to predict, and has to fit what is held out."""
    for seq_len in (1, EVALUATION_BYTES + 1):
        with pytest.raises(DataError, match=rf"seq_len must be from 2 to 8192 .* got {seq_len}"):
            load(seq_len)
    with pytest.raises(DataError, match="task 'text' is made of tokens: give seq_len"):
        load(None)
