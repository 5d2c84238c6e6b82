"""One fork server for all sweeps of a test session, as a sweep has one for all its cases."""

import pytest

from rmmbench.models import MODELS
from rmmbench.sweep import process


@pytest.fixture(scope="session", autouse=True)
def fork_server():
    """Import torch and the models once."""
    process.preload(MODELS.module(name) for name in ("linear", "mlp", "roberta-tiny", "import"))


@pytest.fixture
def environment(make_record):
    """Return the environment of the golden records."""
    return make_record().environment
