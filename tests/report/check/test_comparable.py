"""Runs that measured different things are not compared, unless told otherwise."""

import pytest

from rmmbench.errors import NoBaselineError, NotComparableError, UsageError
from rmmbench.report.check.runs import compare_runs


@pytest.fixture
def elsewhere(make_record, make_run):
    """Make a run whose environment differs in what the keywords say."""

    def make(name="run", *, in_records=True, profile_hash="golden", **changes):
        here = make_record().environment
        there = here.model_copy(update=changes)
        record = make_record(environment=there if in_records else here, memory_device="cuda")
        return make_run(record, name=name, environment=there, profile_hash=profile_hash)

    return make


@pytest.mark.parametrize(
    ("changes", "flag", "fact"),
    [
        ({"gpu": "H200"}, "gpu", "gpu differs: none in the baseline, H200 in the run"),
        (
            {"torch": "2.14.0+cpu"},
            "torch",
            "torch differs: 2.13.0+cpu in the baseline, 2.14.0+cpu in the run",
        ),
        (
            {"profile_hash": "other"},
            "profile",
            "profile differs: 'golden' (golden) in the baseline, 'golden' (other) in the run",
        ),
    ],
)
def test_difference_is_refused_until_allowed(elsewhere, changes, flag, fact):
    """One line says what differs and which flag allows it; allowed, it is a warning."""
    baseline, run = elsewhere("baseline"), elsewhere(**changes)
    with pytest.raises(NotComparableError) as raised:
        compare_runs(baseline, run)
    assert str(raised.value) == f"{fact}; compare them anyway with --allow {flag}"
    report = compare_runs(baseline, run, allow=[flag])
    assert report.warnings == (f"{fact} (allowed)",)
    assert not report.exit_code


def test_every_difference_is_told_at_once(elsewhere):
    """The message names all the flags that it takes, so that nobody has to try them in turn."""
    run = elsewhere(gpu="H200", torch="2.14.0")
    with pytest.raises(NotComparableError, match=r"with --allow torch --allow gpu$"):
        compare_runs(elsewhere("baseline"), run)
    with pytest.raises(NotComparableError, match=r"with --allow torch$"):
        compare_runs(elsewhere("baseline"), run, allow=["gpu"])


def test_records_are_asked_too(make_record, make_run):
    """A record that was made elsewhere than its run says is found out."""
    baseline = make_run(make_record(), name="baseline")
    other = make_record().environment.model_copy(update={"torch": "2.14.0"})
    run = make_run(make_record(environment=other))
    with pytest.raises(NotComparableError, match=r"torch differs: .* 2\.14\.0 in the run"):
        compare_runs(baseline, run)


def test_run_is_asked_too(elsewhere):
    """A run made elsewhere is found out though its records say nothing of it."""
    with pytest.raises(NotComparableError, match=r"torch differs"):
        compare_runs(elsewhere("baseline"), elsewhere(in_records=False, torch="2.14.0"))


def test_gpu_matters_where_one_was_used(make_record, make_run):
    """A prediction is the same on a machine with another GPU, or none."""
    there = make_record().environment.model_copy(update={"gpu": "H200"})
    baseline = make_run(make_record(), name="baseline")
    run = make_run(make_record(environment=there), environment=there)
    assert not compare_runs(baseline, run).exit_code


def test_builds_of_one_torch_version_are_the_same(elsewhere):
    """The wheel for CUDA and the one for the CPU predict the same."""
    report = compare_runs(elsewhere("baseline"), elsewhere(torch="2.13.0+cu130"))
    assert not report.exit_code
    assert not report.warnings


def test_empty_run_and_empty_baseline(make_record, make_run):
    """Without records there is nothing to judge, or nothing to judge by."""
    full, empty = make_run(make_record()), make_run(name="empty")
    with pytest.raises(UsageError, match=r"empty has no records; measure some with"):
        compare_runs(full, empty)
    with pytest.raises(NoBaselineError, match=r"empty has no records; .* with --save"):
        compare_runs(empty, full)
