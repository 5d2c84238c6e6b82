"""One fork server for all sweeps of a test session, as a sweep has one; and a clock to set."""

import contextlib
import uuid
from pathlib import Path

import pytest

from rmmbench.models import MODELS
from rmmbench.running.isolation import process
from rmmbench.spec.case import Case


@pytest.fixture(scope="session", autouse=True)
def fork_server():
    """Import torch and the models once."""
    process.preload(MODELS.module(name) for name in ("linear", "mlp", "roberta-tiny", "import"))


class _Clock:
    """A clock that goes on when it is told to."""

    now = 0.0

    def __call__(self):
        """Return the time."""
        return self.now


@pytest.fixture
def clock():
    """Return a clock that the test sets."""
    return _Clock()


@pytest.fixture
def environment(make_record):
    """Return the environment of the golden records."""
    return make_record().environment


@pytest.fixture
def measured(environment, tmp_path, monkeypatch):
    """Measure a case in this process; return its record and the stages that were announced."""
    # Not before a test that needs it: many here get along without torch.
    from rmmbench.measures.time.processors import ProcessorWatch
    from rmmbench.running.worker import measure

    # Tests may well run beside other programs.
    monkeypatch.setattr(ProcessorWatch, "warnings", lambda _: ())

    def record_of(**settings):
        fast = {"warmup_steps": 1, "min_steps": 2, "max_steps": 2}
        data = {"model": "mlp:8-16-4", "batch_size": 16, "timing": fast} | settings
        stages = []
        return measure(Case.model_validate(data), environment, tmp_path, stages.append), stages

    return record_of


@pytest.fixture
def living(monkeypatch):
    """Return what lists the living processes that this test started, and that those started."""
    mark = f"RMMBENCH_TEST={uuid.uuid4()}"
    monkeypatch.setenv(*mark.split("="))

    def listed():
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            # What waits to be buried has none.
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    return listed
