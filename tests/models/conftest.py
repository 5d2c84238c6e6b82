"""Cases of two samples; what a model that trains does, and how one is refused."""

import pytest
from torch import Tensor

from rmmbench import models
from rmmbench.spec.case import Case

# What masks a part of a sound, or tells two texts apart, is not called for by batches of ours.
UNREAD = ("masked_spec_embed", "mask_emb", "seg_embed", "r_s_bias")


@pytest.fixture
def case():
    """Return a case of two samples."""

    def of(model, **settings):
        return Case.model_validate({"model": model, "batch_size": 2} | settings)

    return of


@pytest.fixture
def loss_of():
    """Return the loss of one batch."""

    def loss(built):
        output = built.model(**built.make_batch())
        return output if isinstance(output, Tensor) else output.loss

    return loss


@pytest.fixture
def check_trains(loss_of):
    """Assert that a batch gives a scalar loss, and the loss a gradient to every parameter."""

    def check(built):
        loss = loss_of(built)
        assert loss.shape == ()
        loss.backward()
        trained = {n: p for n, p in built.model.named_parameters() if p.requires_grad}
        without = [name for name, parameter in trained.items() if parameter.grad is None]
        assert [name for name in without if not name.endswith(UNREAD)] == []

    return check


@pytest.fixture
def fault(case):
    """Return the one line with which a case is refused, by check as by build."""

    def told(model, **settings):
        wanted = case(model, **settings)
        with pytest.raises(ValueError, match=r".") as by_check:
            models.check(wanted)
        with pytest.raises(ValueError, match=r".") as by_build:
            models.build(wanted)
        assert str(by_check.value) == str(by_build.value)
        assert "\n" not in str(by_build.value)
        return str(by_build.value)

    return told
