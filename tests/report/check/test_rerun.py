"""Two codes measured in turn: what is measured when, until what is known."""

import random

import pytest

from rmmbench.errors import Exit
from rmmbench.report.check.compare import Tolerances
from rmmbench.report.check.report import Verdict
from rmmbench.report.check.rerun import rerun, undecided

RMM = {"method": "rmm", "sketch": "dct", "rho": 0.5}


@pytest.fixture
def lab(make_record):
    """Two codes of exact and dct, the candidate's slower by given factors; runs differ by 2 %."""

    class Lab:
        def __init__(self, *, exact=1.0, dct=1.0, **candidate):
            self.factors = {"baseline": (1.0, 1.0), "candidate": (exact, dct)}
            self.candidate, self.order, self.noise = candidate, [], random.Random(0)

        def __call__(self, side):
            self.order.append(side)
            exact, dct = (self._around(factor) for factor in self.factors[side])
            more = self.candidate if side == "candidate" else {}
            times = {"step_seconds": (dct,) * 2, "reference_step_seconds": (exact,) * 2}
            slow = {"step_seconds": (exact,) * 2}
            return [make_record(**slow), make_record(**RMM, **times, **more)]

        def _around(self, factor):
            return factor * self.noise.gauss(1, 0.02)

        def reports(self, seconds=float("inf")):
            """Every run takes a second."""
            clock = lambda: float(len(self.order))  # noqa: E731 -- the number of runs is the time
            return list(rerun(self, Tolerances(), seconds, clock))

    return Lab


def verdicts(report):
    """What was found of each case's throughput."""
    speeds = ("relative_throughput", "samples_per_second")
    return {one.what: one.verdict for one in report.findings if one.what in speeds}


def test_order_and_end(lab):
    """Runs go baseline, candidate, candidate, baseline, until every case is decided."""
    codes = lab()
    reports = codes.reports()
    block = ["baseline", "candidate", "candidate", "baseline"]
    assert codes.order == block * len(reports)
    assert [bool(undecided(report)) for report in reports[-2:]] == [True, False]
    same = {"relative_throughput": Verdict.SAME, "samples_per_second": Verdict.SAME}
    assert verdicts(reports[-1]) == same
    assert reports[-1].exit_code is Exit.OK


def test_slower_method(lab):
    """A method that became 10 % slower regressed, and exact did not."""
    report = lab(dct=1.1).reports()[-1]
    assert verdicts(report)["relative_throughput"] is Verdict.REGRESSED
    assert verdicts(report)["samples_per_second"] is Verdict.SAME
    assert report.exit_code is Exit.REGRESSION


def test_slow_down_of_all_is_seen_too(lab):
    """Where exact slows down as well, its own samples per second tell."""
    report = lab(exact=1.1, dct=1.1).reports()[-1]
    assert verdicts(report)["relative_throughput"] is Verdict.SAME
    assert verdicts(report)["samples_per_second"] is Verdict.REGRESSED


def test_time_is_up(lab):
    """No block starts that would not end in time, the first but always; what is open is said."""
    codes = lab()
    (report,) = codes.reports(seconds=1)
    assert len(codes.order) == 4
    assert set(verdicts(report).values()) == {Verdict.NOT_ENOUGH_EVIDENCE}
    few = "2 pairs of runs, and it takes 6; give more time with --max-minutes"
    assert {one.reason for one in report.findings} >= {few}
    assert report.exit_code is Exit.OK
    assert len(lab().reports(seconds=11)) == 2
    open_still = lab(dct=1.03).reports(seconds=50)[-1].findings[0]
    assert open_still.reason.startswith("24 pairs of runs differ by ")


def test_memory_is_judged_by_the_first_pair(lab):
    """What has no noise needs no second run."""
    report = lab(peak=12 * 2**30).reports(seconds=1)[0]
    assert report.exit_code is Exit.REGRESSION
    assert report.findings[0].what == "peak_allocated_bytes"


def test_versions_and_failures_are_told(lab, make_record):
    """Another torch is what may be compared here, and is told; so is a run that failed later."""
    there = make_record().environment.model_copy(update={"torch": "2.12.0"})
    codes = lab(environment=there)
    measure = codes.__call__

    def failing(side):
        records = measure(side)
        if len(codes.order) == 3:
            gone = {"outcome": "error", "timing": None, "memory": None}
            records[1] = records[1].model_copy(update=gone)
        return records

    *_, report = rerun(failing, Tolerances(), 100, lambda: float(len(codes.order)))
    assert report.warnings[0] == "torch differs: 2.13.0+cpu in the baseline, 2.12.0 in the run"
    assert report.warnings[1].endswith("runs of the candidate ended with error")
