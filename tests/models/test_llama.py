"""Llama 3 has the sizes that were published."""

import pytest

from rmmbench import models
from rmmbench.fakes.mode import fake_tensors
from rmmbench.spec.case import Case


@pytest.mark.parametrize(
    ("model", "billions"), [("llama:1b", 1.236), ("llama", 8.030), ("llama:8B", 8.030)]
)
def test_it_has_as_many_parameters(model, billions):
    """A size has the published number of parameters, a tied embedding counted once."""
    with fake_tensors():
        built = models.build(Case(model=model, batch_size=1, seq_len=8, attention="sdpa"))
    count = sum(each.numel() for each in built.model.parameters())
    assert count / 1e9 == pytest.approx(billions, abs=0.0005)


def test_other_sizes_are_refused():
    """A size that does not exist gets those that do."""
    message = "no Llama 3 of size 'giant'; choose from: 1b, 3b, 8b, 70b, 405b"
    with pytest.raises(ValueError, match=message):
        models.build(Case(model="llama:giant", batch_size=1, seq_len=8))
