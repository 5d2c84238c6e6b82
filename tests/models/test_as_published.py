"""Models that others measured are as they had them, and what an older PyTorch kept is kept."""

import pytest
import torch

from rmmbench import models, predict
from rmmbench.models import as_published
from rmmbench.spec.case import Case


def case(model, **settings):
    """Return a case of that model."""
    return Case.model_validate({"model": model, "batch_size": 1} | settings)


def test_the_softmax_of_older_torch_keeps_its_input():
    """Beside today's BERT-large, each of 24 blocks keeps one more matrix of attention."""
    sizes = "hidden_size=1024,intermediate_size=4096,num_hidden_layers=24,num_attention_heads=16"
    today = predict(f"hf:bert:{sizes}", batch_size=1, seq_len=64)
    older = predict("published:bert-large", batch_size=1, seq_len=64)
    assert older.saved_bytes - today.saved_bytes == 24 * 16 * 64 * 64 * 4


def test_attention_computes_what_it_did():
    """Probabilities are a softmax's, masked where the mask says so, and gradients come by."""
    query, key, value = (torch.randn(2, 3, 5, 4, requires_grad=True) for _ in range(3))
    mask = torch.zeros(5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    output, _ = as_published._attend(torch.nn.Identity().eval(), query, key, value, mask)
    attention = torch.nn.functional.scaled_dot_product_attention
    expected = attention(query, key, value, is_causal=True).transpose(1, 2)
    torch.testing.assert_close(output, expected)
    given = torch.autograd.grad(output.sum(), (query, key, value))
    torch.testing.assert_close(given, torch.autograd.grad(expected.sum(), (query, key, value)))


def test_buckets_hold_every_gradient():
    """The first bucket is full at 1 MiB, others at 25 MiB, and each gradient is in one."""
    model = torch.nn.Sequential(*(torch.nn.Linear(2000, 2000) for _ in range(3)))
    sizes = as_published._bucket_sizes(model)
    layer = 2000 * 2000 + 2000
    # The last bias has 8 kB, so that the first bucket takes the last weight too.
    assert sizes == [layer, 2 * layer]
    small = torch.nn.Linear(3, 2)
    assert as_published._bucket_sizes(small) == [8]


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (
            "published:bert-lage",
            {"seq_len": 8},
            "no published model named 'bert-lage'; did you mean 'bert-large'?; choose from: "
            "llama-3b, bert-large, linears, torchtitan-8b",
        ),
        (
            "published:bert-large",
            {"seq_len": 8, "attention": "sdpa"},
            "published:bert-large has eager attention, got attention 'sdpa'",
        ),
    ],
)
def test_what_cannot_be_made_is_told(model, settings, message):
    """The error says what must hold and what was given."""
    with pytest.raises(ValueError, match=r".") as caught:
        models.check(case(model, **settings))
    assert str(caught.value) == message
