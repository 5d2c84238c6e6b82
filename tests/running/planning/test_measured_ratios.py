"""Time by measured ratios of single layers: of their shape, between their rates, or not at all."""

from pathlib import Path

import pytest

import rmmbench
from rmmbench.errors import UsageError
from rmmbench.results.store import Run
from rmmbench.running.planning.measured_ratios import MeasuredRatios
from rmmbench.running.planning.ways_to_keep import Way

LINEAR = Path(__file__).parents[3] / "profiles" / "baselines" / "linear-cpu"


@pytest.fixture(scope="module")
def records():
    """Return the committed records of single layers."""
    return Run.open(LINEAR).records()


def test_a_ratio_is_the_measured_one(records):
    """Of the shape and the nearest rows; between rates in proportion, and 1 without a sketch."""
    ratios = MeasuredRatios(records, "linear-cpu")
    case = {"model": "linear:768x3072", "batch_size": 8192}
    of = {
        record.case.settings["rho"]: record.timing.relative_throughput
        for record in records
        if all(getattr(record.case, name) == value for name, value in case.items())
        and record.case.settings["sketch"] == "oporp"
    }
    half = ratios.more_time("3072x768", 8000, "oporp", Way(0.5, None))
    assert half == pytest.approx(1 / of[0.5] - 1)
    between = ratios.more_time("3072x768", 8000, "oporp", Way(0.75, None))
    assert between == pytest.approx(half / 2)
    assert ratios.more_time("3072x768", 8000, "oporp", Way(0.5, 8)) is None
    assert ratios.more_time("768x768", 8000, "oporp", Way(0.5, None)) is None
    assert ratios.device


def test_a_run_of_no_layers_is_refused(records):
    """What the run must have is said, and how to make one."""
    with pytest.raises(UsageError, match="make one with `rmmbench sweep linear`"):
        MeasuredRatios([each for each in records if each.case.method == "exact"], "there")


def test_a_plan_says_what_its_time_is_from():
    """Layers of measured shapes by ratios; a model without such layers is told which to time."""
    about = {"batch_size": 4096, "quiet": True, "save": "3%", "ratios": LINEAR}
    plans = rmmbench.plan("mlp:768-3072-768-10", **about)
    assert "ratios measured on" in plans.time_by
    with pytest.raises(UsageError, match="time linear:512x512"):
        rmmbench.plan("mlp:256-512-512-10", **about)
