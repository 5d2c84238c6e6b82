"""`rmmbench.frontier`: a row a way of saving memory, with what no other beats."""

import pytest

import rmmbench
from rmmbench.errors import UsageError
from rmmbench.results.gradient_error import GradientError
from rmmbench.units import GIB

OPORP = {"method": "rmm", "sketch": "oporp", "rho": 0.1}
LIMIT = {"memory_limit_bytes": 16 * GIB, "memory_device": "predict"}


@pytest.fixture
def measured(make_record):
    """Exact, checkpointing, a method that is beaten, and a sketch."""

    def case(peak, ratio, error=None, **settings):
        times = {"step_seconds": (1 / ratio,) * 3}
        if "method" in settings:
            times["reference_step_seconds"] = (1.0,) * 3
        record = make_record(peak=peak * GIB, **times, **settings)
        if error is None:
            return record
        gradient = GradientError(device="cpu", errors=(error,) * 2, mean_error=error)
        return record.model_copy(update={"gradient": gradient})

    def make(**settings):
        return [
            case(10, 1.0, **settings),
            case(2, 0.6, 0.0, method="checkpoint", **settings),
            case(3, 0.5, 0.0, method="checkpoint-attention", **settings),
            case(8, 1.2, 2.0, **OPORP, **settings),
        ]

    return make


def test_what_no_other_beats_is_marked_for_both_fronts(make_run, measured):
    """A noisy way is on the front of all alone; a way that another beats is on neither."""
    frame = rmmbench.frontier(make_run(*measured())).set_index("method")
    assert list(frame.is_best_of_exact) == [True, False, False, True]
    assert list(frame.is_best_of_all) == [True, True, False, True]
    assert list(frame.index) == ["exact", "rmm", "checkpoint-attention", "checkpoint"]
    assert frame.side["rmm"] == "above"


def test_nothing_is_said_of_a_speed_that_is_not_known(make_run, make_record):
    """Where nothing was timed, neither front has a yes or no."""
    peaks = [make_record(), make_record(**OPORP), make_record(method="checkpoint")]
    frame = rmmbench.frontier(make_run(*peaks))
    assert list(frame.is_best_of_all) == list(frame.is_best_of_exact) == [None] * 3


def test_several_runs_are_one_frame(make_run, measured):
    """Runs are given as they are or as paths, and each cell has its rows."""
    one, other = make_run(*measured(), name="a"), make_run(*measured(batch_size=32), name="b")
    frame = rmmbench.frontier([one, str(other.path)])
    assert list(frame.batch_size) == [16] * 4 + [32] * 4


def test_largest_batches_alone_are_no_steps_to_compare(make_run, make_record):
    """A search for the largest batch is refused in one line that says what to run."""
    search = make_run(make_record(**LIMIT), make_record(**OPORP, **LIMIT))
    with pytest.raises(
        UsageError, match=r"has largest batches only, .*; run `rmmbench sweep front"
    ):
        rmmbench.frontier(search)
