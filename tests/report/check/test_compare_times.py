"""Times are compared by their relative throughput, with the evidence there is."""

from dataclasses import replace

import pytest

from rmmbench.errors import Exit
from rmmbench.report.check.compare import compare
from rmmbench.report.check.report import Verdict
from rmmbench.units import GIB

GAUSSIAN = {"method": "rmm", "sketch": "gaussian", "rho": 0.5}


PAIRS = (1.0, 1.01, 0.99, 1.0, 1.02, 1.0, 1.0, 0.98)


def only(report):
    """The verdicts of a report on one case, by what was compared."""
    (case,) = report.cases
    return {finding.what: finding.verdict for finding in case.findings}


def test_much_slower_case_regresses(make_record):
    """Relative throughput that fell by more than runs ever differ is a regression."""
    slow = tuple(2 * step for step in PAIRS)
    timed = {"reference_step_seconds": PAIRS, **GAUSSIAN}
    report = compare(
        [make_record(step_seconds=PAIRS, **timed)], [make_record(step_seconds=slow, **timed)]
    )
    finding = report.findings[0]
    assert (finding.what, finding.verdict) == ("relative_throughput", Verdict.REGRESSED)
    assert finding.change == pytest.approx(-0.5)
    assert report.exit_code is Exit.REGRESSION


def test_slower_machine_does_not_regress(make_record):
    """A run on a machine at half the speed, where exact is slower too, is the same."""
    half = tuple(2 * step for step in PAIRS)
    before = make_record(step_seconds=PAIRS, reference_step_seconds=PAIRS, **GAUSSIAN)
    now = make_record(step_seconds=half, reference_step_seconds=half, **GAUSSIAN)
    report = compare([before], [now])
    (finding,) = [one for one in report.findings if one.what == "relative_throughput"]
    assert finding.change == 0
    assert report.exit_code is Exit.OK


def test_two_runs_alone_cannot_tell_little(make_record):
    """Without a calibration a fall that runs of one code show too is not called the same."""
    before = make_record(step_seconds=PAIRS, reference_step_seconds=PAIRS, **GAUSSIAN)
    report = compare([before], [before])
    (finding,) = [one for one in report.findings if one.what == "relative_throughput"]
    assert finding.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert 0.1 < finding.excluded_fall < 0.2
    assert "calibrate the baseline with --calibrate" in finding.reason
    assert replace(report, strict=True).exit_code is Exit.NOT_ENOUGH_EVIDENCE


def test_method_without_turns(make_record):
    """A method that was timed without exact, twice, is said not to be judged, not passed over."""
    alone = make_record(step_seconds=PAIRS, **GAUSSIAN)
    (finding,) = [one for one in compare([alone], [alone]).findings if one.what[:7] == "samples"]
    assert finding.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "took no turns with exact" in finding.reason


def test_exact_has_no_relative_throughput(make_record):
    """Exact is not compared with itself: its own times say nothing that lasts."""
    before, now = make_record(step_seconds=PAIRS), make_record(step_seconds=(9.0,) * 8)
    assert "relative_throughput" not in only(compare([before], [now]))


def test_little_evidence_fails_only_if_strict(make_record):
    """Too few pairs are a failure of their own, and only where that was asked for."""
    few = make_record(step_seconds=(1.0,), reference_step_seconds=(1.0,), **GAUSSIAN)
    report = compare([few], [few])
    assert only(report)["relative_throughput"] is Verdict.NOT_ENOUGH_EVIDENCE
    assert report.exit_code is Exit.OK
    assert replace(report, strict=True).exit_code is Exit.NOT_ENOUGH_EVIDENCE


ELSEWHERE = [("processor", {"processor": "Another CPU"}), ("threads", {"torch_threads": 64})]


@pytest.mark.parametrize(("flag", "change"), ELSEWHERE)
def test_timed_elsewhere(make_record, change, flag):
    """Times of another processor or thread count are not comparable, strict or not; memory is."""
    timed = {"step_seconds": PAIRS, "reference_step_seconds": PAIRS, **GAUSSIAN}
    before = make_record(**timed)
    elsewhere = before.environment.model_copy(update=change)
    report = compare([before], [make_record(environment=elsewhere, **timed)])
    assert only(report)["relative_throughput"] is Verdict.NOT_COMPARABLE
    assert report.exit_code is Exit.NOT_COMPARABLE
    assert replace(report, strict=True).exit_code is Exit.NOT_COMPARABLE
    worse = compare([before], [make_record(environment=elsewhere, peak=11 * GIB, **timed)])
    assert worse.exit_code is Exit.REGRESSION
    untimed = [make_record(**GAUSSIAN)], [make_record(environment=elsewhere, **GAUSSIAN)]
    assert compare(*untimed).exit_code is Exit.OK
    allowed = compare([before], [make_record(environment=elsewhere, **timed)], allow=[flag])
    assert allowed.exit_code is Exit.OK
    assert allowed.warnings[0].startswith(f"{flag} differs: ")
    assert allowed.warnings[0].endswith(" (allowed)")


@pytest.mark.parametrize(("flag", "change"), ELSEWHERE)
def test_some_cases_timed_elsewhere(make_record, change, flag):
    """Where the times of other cases are compared, those that are not are too little evidence."""
    timed = {"step_seconds": PAIRS, "reference_step_seconds": PAIRS, "method": "rmm"}
    before = [make_record(sketch=sketch, rho=0.5, **timed) for sketch in ("dct", "gaussian")]
    elsewhere = before[0].environment.model_copy(update=change)
    now = [before[0], before[1].model_copy(update={"environment": elsewhere})]
    assert compare(before, now).exit_code is Exit.NOT_ENOUGH_EVIDENCE
    gone = [before[0].model_copy(update={"timing": None}), before[1]]
    assert compare(gone, now).exit_code is Exit.NOT_COMPARABLE
