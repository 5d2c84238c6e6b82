"""The pytest plugin measures steps as they stand in a test: factories, and steps themselves."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import rmmbench
from rmmbench.models import MODELS
from rmmbench.pytest_plugin.checker import Checker
from rmmbench.running.isolation import process

DOCS = Path(rmmbench.__file__).parent / "docs" / "pytest.md"


@pytest.fixture
def checker(request):
    """Return what the fixture `rmmbench` is in this test."""
    process.preload([MODELS.module("import"), MODELS.module("mlp")])
    config = SimpleNamespace(getoption=lambda name: {"rmmbench_device": "cpu"}.get(name))
    here = SimpleNamespace(node=request.node, config=config, module=request.module)
    return Checker(here, [])


@pytest.fixture
def example():
    """Return what the first example of the page defines."""
    source = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    names = {"__name__": "example"}
    exec(compile(source, str(DOCS), "exec"), names)
    return names


def test_the_example_passes(checker, example):
    """The test of the documentation passes as it stands, and would not half of it."""
    example["test_memory"](checker)
    with pytest.raises(pytest.fail.Exception, match=r"over the limit .*\n.*at the peak, in"):
        checker.check(example["step"], peak="40MiB", device="predict", rho=0.5)


def test_a_step_itself_is_measured_as_its_factory(checker, example):
    """A step whose model is there already has the same peak, and its parameters are known."""
    train, _ = example["step"]()
    here = checker.check(train, peak="1GiB")
    made = checker.check(example["step"], peak="1GiB")
    assert here.memory.peak_allocated_bytes == made.memory.peak_allocated_bytes
    parameters = 4 * (256 * 1024 + 1024 + 10250)
    for record in (here, made):
        assert record.timeline.highest.live_bytes[0] == parameters
    assert made.environment.commit == here.environment.commit


def test_what_cannot_be_measured_fails(checker):
    """A factory that raises fails its test, and so does a step that a prediction cannot run."""
    layer = nn.Linear(8, 8)

    def step():
        layer(torch.ones(2, 8)).sum().backward()

    def wrong(batch_size):
        raise OSError(f"no data for {batch_size} here")

    with pytest.raises(pytest.fail.Exception, match="refers to tensors that are there already"):
        checker.check(step, peak="1GiB", device="predict")
    with pytest.raises(pytest.fail.Exception, match="OSError: no data for 3 here"):
        checker.check(wrong, peak="1GiB", batch_size=3)
    with pytest.raises(pytest.fail.Exception, match="reserved is not known on device 'cpu'"):
        checker.check(step, reserved="1GiB")
