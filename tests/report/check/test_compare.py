"""Two sets of records become the right findings."""

import pytest

from rmmbench.errors import Exit
from rmmbench.report.check import overview
from rmmbench.report.check.compare import Tolerances, compare
from rmmbench.report.check.report import Verdict
from rmmbench.results.counts import COUNTS, Counts
from rmmbench.units import GIB, MIB

GAUSSIAN = {"method": "rmm", "sketch": "gaussian", "rho": 0.5}


def only(report):
    """The verdicts of a report on one case, by what was compared."""
    (case,) = report.cases
    return {finding.what: finding.verdict for finding in case.findings}


def test_same_records_are_the_same(make_record):
    """A run compared with itself passes with every case the same."""
    records = [make_record(), make_record(**GAUSSIAN)]
    report = compare(records, records)
    assert report.counts == {Verdict.SAME: 2}
    assert report.exit_code is Exit.OK


@pytest.mark.parametrize("choice", [{"where": "beneficial"}, {"share": False}, {"block_rows": 1}])
def test_another_choice_is_another_case(make_record, choice):
    """A case of other layers is not compared with the one that has all else in common."""
    report = compare([make_record(**GAUSSIAN)], [make_record(peak=GIB, **GAUSSIAN, **choice)])
    assert report.counts == {Verdict.MISSING: 1, Verdict.NEW: 1}


@pytest.mark.parametrize(
    ("device", "before", "now", "verdict"),
    [
        ("cpu", 10 * GIB, 10 * GIB + GIB // 10, Verdict.SAME),
        ("cpu", 10 * GIB, 10 * GIB + GIB // 10 + 1, Verdict.REGRESSED),
        ("cpu", 10 * GIB, 10 * GIB - GIB // 10, Verdict.SAME),
        ("cpu", 10 * GIB, 10 * GIB - GIB // 10 - 1, Verdict.IMPROVED),
        ("cpu", 10 * MIB, 12 * MIB, Verdict.SAME),
        ("cpu", 10 * MIB, 12 * MIB + 1, Verdict.REGRESSED),
        ("cpu", 10 * MIB, 8 * MIB - 1, Verdict.IMPROVED),
        ("predict", 10_000, 10_100, Verdict.SAME),
        ("predict", 10_000, 10_101, Verdict.REGRESSED),
    ],
)
def test_memory_limit(make_record, device, before, now, verdict):
    """Memory may change by 1 %, and if measured by 2 MiB at the least, and by no byte more."""
    sides = [[make_record(peak=peak, memory_device=device)] for peak in (before, now)]
    assert only(compare(*sides)) == {"peak_allocated_bytes": verdict, "saved_bytes": Verdict.SAME}


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (100 * MIB, 120 * MIB, Verdict.SAME),
        (100 * MIB, 120 * MIB + 1, Verdict.REGRESSED),
        (10 * GIB, 10 * GIB + GIB // 10, Verdict.SAME),
        (10 * GIB, 10 * GIB + GIB // 10 + 1, Verdict.REGRESSED),
        (10 * GIB, 9 * GIB, Verdict.IMPROVED),
        (10 * GIB, None, Verdict.MISSING),
    ],
)
@pytest.mark.parametrize("device", ["cuda", "predict"])
def test_reserved_bytes_may_change_by_a_block(make_record, before, now, verdict, device):
    """By 1 %, and by 20 MiB at the least, since the allocator takes so much at once."""
    sides = [[make_record(reserved=size, memory_device=device)] for size in (before, now)]
    assert only(compare(*sides))["reserved_bytes"] is verdict


@pytest.mark.parametrize("what", COUNTS)
def test_one_count_more_is_a_regression(make_record, what):
    """Counts have no noise: a single one more regresses, a single one less improves."""
    before = Counts(flops=10**13, moved_bytes=10**12, operator_calls=2_000)
    for change, verdict in ((1, Verdict.REGRESSED), (-1, Verdict.IMPROVED), (0, Verdict.SAME)):
        now = before.model_copy(update={what: getattr(before, what) + change})
        found = only(compare([make_record(counts=before)], [make_record(counts=now)]))
        assert found[what] is verdict
        assert all(found[other] is Verdict.SAME for other in COUNTS if other != what)


def test_what_an_older_baseline_lacks_is_not_judged(make_record):
    """It knows no reserved bytes and no counts; where only the run lacks them they are missing."""
    new = make_record(reserved=11 * GIB, counts=Counts(flops=1, moved_bytes=1, operator_calls=1))
    assert not {"reserved_bytes", *COUNTS} & only(compare([make_record()], [new])).keys()
    missing = only(compare([new], [make_record()]))
    assert {missing[what] for what in ("reserved_bytes", *COUNTS)} == {Verdict.MISSING}


def test_saved_bytes_are_held_too(make_record):
    """Saved bytes that rise are a regression where the peak stays."""
    report = compare([make_record()], [make_record(saved=9 * GIB)])
    assert only(report)["saved_bytes"] is Verdict.REGRESSED
    assert report.exit_code is Exit.REGRESSION


def test_nothing_saved_before(make_record):
    """A baseline of zero bytes has a limit and a difference, and no percentage."""
    report = compare([make_record(saved=0)], [make_record(saved=3 * MIB)])
    finding = report.findings[0]
    assert finding.verdict is Verdict.REGRESSED
    assert finding.change is None
    assert finding.difference == 3 * MIB


def test_memory_tolerance_is_a_fraction(make_record):
    """A wider tolerance lets through what the default does not."""
    before, now = [make_record()], [make_record(peak=11 * GIB)]
    assert compare(before, now).exit_code is Exit.REGRESSION
    assert compare(before, now, Tolerances(memory=0.1)).exit_code is Exit.OK


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_tolerance_out_of_range(value):
    """A tolerance must be a fraction, and the message has what was given."""
    with pytest.raises(ValueError, match=f"memory tolerance must be .* below 1, got {value:g}"):
        Tolerances(memory=value)


@pytest.mark.parametrize(
    ("now", "verdict"), [(13, Verdict.REGRESSED), (14, Verdict.SAME), (15, Verdict.IMPROVED)]
)
def test_converted_layers_are_counted(make_record, now, verdict):
    """One layer fewer that the method changes is a regression: a count has no noise."""
    before, after = (
        make_record(**GAUSSIAN).model_copy(update={"converted": count}) for count in (14, now)
    )
    report = compare([before], [after])
    assert only(report)["converted"] is verdict
    assert (report.exit_code is Exit.REGRESSION) == (verdict is Verdict.REGRESSED)


def test_training_runs_are_compared_by_memory(make_trained):
    """Of training runs the peak is judged; a score, of one seed, is said not to be."""
    before, worse = make_trained(0.9, peak=10 * GIB), make_trained(0.1, peak=12 * GIB)
    report = compare([before], [worse])
    assert only(report)["peak_allocated_bytes"] is Verdict.REGRESSED
    assert only(report)["score"] is Verdict.NOT_JUDGED
    remarks = overview.remarks(compare([before], [before]))
    assert remarks == [
        "score of 1 case not judged: one run's score says little; "
        "see means over seeds with `rmmbench table`"
    ]


def test_training_runs_without_memory_pass(make_trained):
    """Training runs that have no memory are no failure, and those that diverged again neither."""
    records = [make_trained(0.9), make_trained(0.2, outcome="diverged", **GAUSSIAN)]
    report = compare(records, records)
    assert report.exit_code is Exit.OK
    assert report.counts == {Verdict.SAME: 1, Verdict.NOT_JUDGED: 1}


def test_nothing_to_compare_is_not_the_same(make_record):
    """A case of which nothing was measured that is compared is said not to be judged."""
    bare = make_record(peak=None)
    report = compare([bare], [bare])
    assert report.counts == {Verdict.NOT_JUDGED: 1}
    assert overview.remarks(report) == [
        "outcome of 1 case not judged: it has no measurement that a check compares"
    ]


def test_missing_case_fails(make_record):
    """A case of the baseline that the run lacks fails the check, whatever its outcome was."""
    records = [make_record(), make_record(outcome="out_of_memory", **GAUSSIAN)]
    report = compare(records, [])
    assert report.counts == {Verdict.MISSING: 2}
    assert report.exit_code is Exit.REGRESSION


def test_new_case_passes(make_record):
    """A case that only the run has is told of and fails nothing, even where it is not ok."""
    report = compare([make_record()], [make_record(), make_record(outcome="error", **GAUSSIAN)])
    assert report.counts == {Verdict.NEW: 1, Verdict.SAME: 1}
    assert report.exit_code is Exit.OK


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ("ok", "out_of_memory", Verdict.FAILED),
        ("ok", "skipped", Verdict.FAILED),
        ("out_of_memory", "out_of_memory", Verdict.SAME),
        ("out_of_memory", "error", Verdict.FAILED),
        ("timeout", "ok", Verdict.IMPROVED),
    ],
)
def test_outcome(make_record, before, now, verdict):
    """Only a case that fails as it did before, or no longer fails, passes."""
    report = compare([make_record(outcome=before)], [make_record(outcome=now)])
    assert only(report) == {"outcome": verdict}


def test_number_that_is_no_longer_measured(make_record):
    """A case that is ok but lost a number of the baseline fails, with the record's own reason."""
    lost = make_record().model_copy(update={"memory": None, "missing": {"memory": "no allocator"}})
    report = compare([make_record()], [lost])
    assert report.counts == {Verdict.MISSING: 1}
    assert report.findings[0].reason == "no allocator"
    assert compare([lost], [make_record()]).counts == {Verdict.NEW: 1}


def test_last_record_of_a_key_wins(make_record):
    """Of two records of one case the later one is compared."""
    again = [make_record(peak=20 * GIB), make_record()]
    assert compare([make_record()], again).counts == {Verdict.SAME: 1}


def test_gravest_comes_first(make_record):
    """Findings stand in the order of what a person should look at."""
    cells = [{"batch_size": size} for size in (1, 2, 3)]
    before = [make_record(**cell) for cell in cells]
    now = [
        make_record(peak=11 * GIB, **cells[0]),
        make_record(peak=15 * GIB, **cells[1]),
        make_record(outcome="error", **cells[2]),
    ]
    order = [finding.case.batch_size for finding in compare(before, now).findings]
    assert order[:3] == [3, 2, 1]


def test_other_changes_are_warned_of(make_record):
    """What memory or times may depend on besides is told once, however many cases there are."""
    before = [make_record(), make_record(**GAUSSIAN)]
    environment = before[0].environment
    old = environment.model_copy(update={"driver": "570", "variables": {"X": "1"}})
    new = environment.model_copy(update={"driver": "580", "variables": {"X": "2"}})
    sides = (
        [one.model_copy(update={"environment": there}) for one in before] for there in (old, new)
    )
    assert compare(*sides).warnings == (
        "X differs: 1 in the baseline, 2 in the run",
        "driver differs: 570 in the baseline, 580 in the run",
    )


def test_transformers_is_warned_of(make_record):
    """Another transformers is a warning where memory is compared, and only there."""
    before = make_record()
    other = before.environment.model_copy(update={"transformers": "5.99.0"})
    (warning,) = compare([before], [make_record(environment=other)]).warnings
    assert warning.startswith("transformers differs: 5.23.0 in the baseline, 5.99.0 in the run")
    failed = make_record(environment=other, outcome="error")
    assert compare([before], [failed]).warnings == ()
