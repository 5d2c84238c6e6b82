"""Small cases of every method, and the models that they change."""

import pytest
import torch

from rmmbench import models
from rmmbench.sketches import SKETCHES
from rmmbench.spec.case import Case
from rmmbench.spec.known_settings import known

# A case has those of its methods.
SETTINGS = {"sketch": "gaussian", "rho": 0.3, "bits": 8, "group_size": 16, "activation_bits": 2}
SETTINGS |= {"budget": 0.5}
SETTINGS |= {
    "plan": {"model": "any", "layers": [{"names": ["*"], "sketch": "gaussian", "rho": 0.3}]}
}


@pytest.fixture
def case():
    """Return a case of 16 rows or samples; of all settings it has those of its method."""

    def of(model, method, **settings):
        data = {"model": model, "method": method, "batch_size": 16} | _own(method, SETTINGS)
        if model == "roberta-tiny":
            data |= {"seq_len": 8}
        return Case.model_validate(data | _own(method, settings))

    return of


def _own(method, settings):
    """Return those of some settings that are no method's, or one's in a stack."""
    others = {
        name
        for name, one in known().items()
        if not {*method.split("+"), *SKETCHES.names()} & {*one.owners}
    }
    return {name: value for name, value in settings.items() if name not in others}


@pytest.fixture
def made():
    """Return the unchanged model of a case, training, and a batch."""

    def of(wanted):
        torch.manual_seed(0)
        built = models.build(wanted)
        return built.model.train(), built.make_batch()

    return of
