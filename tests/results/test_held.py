"""Predictions beside measurements: what is off, what failed, and what is said of it."""

import pytest

from rmmbench.results.held import Calibration, KernelTwin, paired
from rmmbench.units import GIB


@pytest.fixture
def pair_of(make_record):
    """Return a pair of one step: predicted figures are the measured ones times a factor."""

    def pair(allocated=1.0, reserved=1.0, measured=None, predicted=None, **settings):
        sides = []
        for device, factors in (("cuda", (1.0, 1.0)), ("predict", (allocated, reserved))):
            gpu = "h100" if device == "predict" else None
            outcome = (predicted if gpu else measured) or "ok"
            record = make_record(memory_device=device, gpu=gpu, outcome=outcome, **settings)
            if record.memory:
                numbers = {
                    "peak_live_bytes": 9 * GIB,
                    "peak_allocated_bytes": round(10 * GIB * factors[0]),
                    "reserved_bytes": round(11 * GIB * factors[1]),
                }
                record = record.model_copy(
                    update={"memory": record.memory.model_copy(update=numbers)}
                )
            sides.append(record)
        return paired(sides[:1], sides[1:])[0]

    return pair


def verdict_of(environment, pairs, twins=()):
    """Return what is said of some pairs and kernels."""
    return Calibration("cuda", "h100", environment, pairs, twins).verdict


@pytest.mark.parametrize(
    ("allocated", "reserved", "verdict"),
    [
        (1.0, 1.0, "ok"),
        (1.0099, 0.951, "ok"),
        (0.9901, 1.0499, "ok"),
        (1.0101, 1.0, "off"),
        (0.9899, 1.0, "off"),
        (1.0, 1.0501, "off"),
    ],
)
def test_a_prediction_holds_within_the_aims(pair_of, allocated, reserved, verdict):
    """Allocated bytes may be 1 % off, reserved ones 5 %, to either side."""
    assert pair_of(allocated, reserved).verdict == verdict


@pytest.mark.parametrize(
    ("measured", "predicted", "verdict"),
    [
        ("error", None, "failed"),
        (None, "timeout", "failed"),
        ("out_of_memory", None, "failed"),
        ("error", "error", "left out"),
        ("skipped", None, "left out"),
    ],
)
def test_what_ran_on_one_side_only_failed(pair_of, measured, predicted, verdict):
    """A kernel that a GPU lacks fails on both sides and is left out; one side alone is told."""
    pair = pair_of(measured=measured, predicted=predicted)
    assert pair.verdict == verdict
    side = "measured" if measured else "predicted"
    what = (measured or predicted).replace("_", " ")
    assert pair.reason == f"{side}: {what}: it was told to fail"


def test_steps_are_paired_whatever_their_order(make_record):
    """A step finds its prediction by what it is; one without a prediction is left."""
    sides = [
        [
            make_record(memory_device=device, gpu=gpu, dtype=dtype)
            for dtype in ("float32", "bfloat16")
        ]
        for device, gpu in (("cuda", None), ("predict", "h100"))
    ]
    pairs = paired(sides[0], reversed(sides[1]))
    assert [pair.predicted.case.dtype for pair in pairs] == ["float32", "bfloat16"]
    assert len(paired(sides[0], sides[1][:1])) == 1


def test_the_verdict_says_what_to_do(pair_of):
    """Predictions that hold are to be trusted; of those that do not the worst is named."""
    held, off = pair_of(), pair_of(allocated=0.9, reserved=1.07, batch_size=8)
    environment = held.measured.environment
    said = verdict_of(environment, [held, held])
    assert said.startswith("All 2 steps are predicted within 1 % of allocated and 5 % of reserved")
    assert "trust --device predict --gpu h100" in said
    said = verdict_of(environment, [held, off])
    worst = "1 of 2 steps are predicted wrong, at worst allocated by -10.0 % (roberta-tiny 8×103"
    assert said.startswith(worst)
    assert "--device cuda" in said
    assert verdict_of(environment, [pair_of(measured="error")]).startswith("No step could be")


@pytest.mark.parametrize(
    ("difference", "verdict"), [(0.0, "ok"), (0.01, "ok"), (0.011, "off"), (None, "failed")]
)
def test_a_kernel_does_what_its_twin_does(pair_of, difference, verdict):
    """More than rounding allows is off, and then nobody should train with sketches there."""
    twin = KernelTwin(kernel="signed sums", dtype="bfloat16", difference=difference, limit=0.01)
    assert twin.verdict == verdict
    pair = pair_of()
    said = verdict_of(pair.measured.environment, [pair], [twin])
    assert ("signed sums: do not train with sketches here" in said) == (verdict == "off")
