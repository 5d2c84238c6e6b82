"""One fork server for all sweeps of a test session, as a sweep has one for all its cases."""

import os
from pathlib import Path

import pytest

from rmmbench.case import Case
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


@pytest.fixture
def measured(environment, tmp_path):
    """Measure a case in this process; return its record and the stages that were announced."""
    # Not before a test that needs it: many here get along without torch.
    from rmmbench.sweep.worker import measure

    def record_of(**settings):
        fast = {"warmup_steps": 1, "min_steps": 2, "max_steps": 2}
        data = {"model": "mlp:8-16-4", "batch_size": 16, "timing": fast} | settings
        stages = []
        return measure(Case.model_validate(data), environment, tmp_path, stages.append), stages

    return record_of


@pytest.fixture
def session():
    """Return what lists the living processes of a session by its leader's number."""
    return living


def living(leader):
    """Return the processes of a session that run, and are not just waiting to be buried."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and os.getsid(int(entry.name)) == leader:
                found.append(int(entry.name))
        except (OSError, IndexError):
            continue
    return found
