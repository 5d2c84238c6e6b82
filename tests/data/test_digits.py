"""Digits are scikit-learn's images, split once for all, as floats and as tokens."""

import pytest
import torch
from sklearn.datasets import load_digits

from rmmbench import data, models
from rmmbench.errors import DataError
from rmmbench.spec.case import Case


def load(**settings):
    """Return the digits of a case."""
    return data.load(
        Case.model_validate({"model": "mlp", "task": "digits", "batch_size": 8} | settings)
    )


def all_of(examples, key):
    """Return one entry of every example."""
    return torch.stack([example[key] for example in examples])


def test_the_split_is_stratified():
    """Both sets have each digit as often, to one image, as their size asks."""
    digits = load()
    train, evaluation = (all_of(part, "labels") for part in (digits.train, digits.evaluation))
    assert (len(train), len(evaluation)) == (1347, 450)
    share = len(evaluation) / (len(train) + len(evaluation))
    for digit in range(10):
        here, there = int((train == digit).sum()), int((evaluation == digit).sum())
        assert abs(there - share * (here + there)) <= 1


def test_every_image_is_used_once():
    """The two sets together are all images with their labels, each once."""
    digits = load()
    examples = [*digits.train, *digits.evaluation]
    got = sorted((*(e["input"] * 16).tolist(), int(e["labels"])) for e in examples)
    images, labels = load_digits(return_X_y=True)
    assert got == sorted((*image, label) for image, label in zip(images, labels, strict=True))


def test_tokens_are_the_same_pixels():
    """A model of tokens reads the values that another reads as floats, in the same order."""
    floats, tokens = load(), load(seq_len=64)
    for one, other in ((floats.train, tokens.train), (floats.evaluation, tokens.evaluation)):
        values = all_of(other, "input_ids") - 5
        assert torch.equal(values.float() / 16, all_of(one, "input"))
        assert torch.equal(all_of(one, "labels"), all_of(other, "labels"))


def test_tokens_keep_clear_of_special_ones():
    """No pixel is a padding token, and all fit a vocabulary of 256."""
    ids = all_of(load(seq_len=64).train, "input_ids")
    assert int(ids.min()) == 5
    assert int(ids.max()) == 21


@pytest.mark.parametrize(
    "settings", [{"model": "mlp:64-8-10"}, {"model": "roberta-tiny", "seq_len": 64}]
)
def test_our_models_take_them(settings):
    """Models of floats and of tokens return a loss for a batch."""
    torch.manual_seed(0)
    case = Case.model_validate({"task": "digits", "batch_size": 8} | settings)
    digits = data.load(case)
    output = models.build(case).model(**digits.collate([digits.train[index] for index in range(8)]))
    loss = output if isinstance(output, torch.Tensor) else output[0]
    assert torch.isfinite(loss)


def test_another_length_is_refused():
    """64 pixels cannot be 128 tokens."""
    with pytest.raises(DataError, match=r"seq_len must be 64 for task 'digits'.*, got 128; leave"):
        load(seq_len=128)
