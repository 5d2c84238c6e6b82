"""Stored records are judged by how much runs of the baseline's code are known to differ."""

import random

import pytest

from rmmbench.errors import Exit, NotComparableError, RunError
from rmmbench.report.check import calibration
from rmmbench.report.check.report import Verdict
from rmmbench.report.check.runs import compare_runs, require_same_code

RMM = {"method": "rmm", "sketch": "dct", "rho": 0.5}


@pytest.fixture
def timed(make_record):
    """Make a record whose relative throughput is a given one, with hardly any noise of steps."""

    def make(level, **settings):
        steps = tuple(1 / level * (1 + 1e-4 * number) for number in range(8))
        times = {"step_seconds": steps, "reference_step_seconds": (1.0,) * 8}
        return make_record(**times, **RMM | settings)

    return make


@pytest.fixture
def calibrated(timed, make_run):
    """Make a baseline whose code ran eleven times, with a given spread between the runs."""

    def make(spread):
        noise = random.Random(0)
        run = make_run(timed(1.0), name=f"baseline-{spread}")
        more = [timed(noise.gauss(1, spread)) for _ in range(10)]
        runs = [calibration.run_of(run.path, [record]) for record in more]
        calibration.write(run.path, calibration.Calibration(runs=runs))
        return run

    return make


def finding(report):
    """The finding on throughput of a report on one case."""
    (found,) = [one for one in report.findings if one.what == "relative_throughput"]
    return found


def test_no_pairs_no_throughput(timed, make_record):
    """A case without a reference, or without timing, has no relative throughput."""
    assert calibration.measured(make_record(step_seconds=(1.0,)).timing) is None
    assert calibration.measured(None) is None
    assert calibration.measured(timed(2.0).timing).value == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize(
    ("spread", "level", "verdict"),
    [
        (0.005, 1.0, Verdict.SAME),
        (0.005, 0.94, Verdict.REGRESSED),
        (0.005, 1.07, Verdict.IMPROVED),
        (0.05, 0.94, Verdict.NOT_ENOUGH_EVIDENCE),
        (0.05, 0.6, Verdict.REGRESSED),
    ],
)
def test_calibration_decides_what_can_be_told(calibrated, timed, make_run, spread, level, verdict):
    """A fall is found where runs of one code differ little, and cannot be told where they do."""
    assert finding(compare_runs(calibrated(spread), make_run(timed(level)))).verdict is verdict


def test_what_cannot_be_told_is_said(calibrated, timed, make_run):
    """The finding has the fall that would have been seen, and how much runs differ."""
    found = finding(compare_runs(calibrated(0.05), make_run(timed(0.97))))
    assert 0.05 < found.excluded_fall < 0.2
    assert found.reason.startswith("runs of one code differ by ")
    assert found.reason.endswith(" here (12 runs)")


def test_runs_of_both_sides_count(calibrated, timed, make_run):
    """A run that has more runs of its own is known better than by one record."""
    baseline = calibrated(0.05)
    run = make_run(timed(0.9))
    alone = finding(compare_runs(baseline, run))
    noise = random.Random(1)
    more = [calibration.run_of(run.path, [timed(noise.gauss(0.9, 0.05))]) for _ in range(10)]
    calibration.write(run.path, calibration.Calibration(runs=more))
    both = finding(compare_runs(baseline, run))
    assert alone.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert both.excluded_fall < alone.excluded_fall


def test_a_baseline_against_itself(calibrated):
    """Runs that stand on both sides are counted once."""
    run = calibrated(0.05)
    assert finding(compare_runs(run, run)).reason.endswith(" here (12 runs)")


def test_two_records_alone_flag_only_what_is_beyond_doubt(timed, make_run):
    """Without a calibration 20 % pass as what cannot be told, and 50 % are found."""
    baseline = make_run(timed(1.0), name="baseline")
    doubtful = compare_runs(baseline, make_run(timed(0.8), name="doubtful"))
    assert doubtful.exit_code is Exit.OK
    assert "nothing is known of how much runs of one code differ" in finding(doubtful).reason
    assert finding(doubtful).is_remarkable
    worse = compare_runs(baseline, make_run(timed(0.5), name="worse"))
    assert worse.exit_code is Exit.REGRESSION


def test_exact_calibrates_nothing(timed, make_record, tmp_path):
    """Of a run only the cases that took turns with exact are kept, exact's own are not."""
    records = [make_record(step_seconds=(1.0,) * 8), timed(1.0)]
    assert [*calibration.run_of(tmp_path, records).relative_throughput] == [records[1].key]


def test_calibration_reads_back(calibrated):
    """What is written is read again; a baseline without one has no runs."""
    run = calibrated(0.01)
    case = run.records()[-1].case
    assert len(calibration.read(run.path).logarithms(case)) == 10
    assert calibration.read(run.path / "nowhere").runs == ()
    assert calibration.NONE.logarithms(case) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 3}', "[" * 100_000, "\udcff"])
def test_what_is_no_calibration(tmp_path, text):
    """A file that is none is refused in one line, with how to make another."""
    (tmp_path / calibration.CALIBRATION_FILE).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RunError, match=r"must be a calibration: .* --calibrate 10`$") as raised:
        calibration.read(tmp_path)
    assert "\n" not in str(raised.value)


def test_summary_tells_what_can_be_found(calibrated):
    """For each case: how much runs differ, and the fall that one run more would show."""
    run = calibrated(0.01)
    (line,) = calibration.summary(run.records(), calibration.read(run.path))
    assert line.startswith("roberta-tiny mrpc 16×103 dct ρ=0.5: 11 runs differ by ")
    assert line.endswith(" % would be found")


def test_only_the_same_code_calibrates(timed, make_run):
    """Runs of another machine or of code that keeps more are no spread of the baseline's."""
    baseline = make_run(timed(1.0), name="baseline")
    require_same_code(baseline, make_run(timed(0.5), name="slow"))
    there = timed(1.0).environment.model_copy(update={"torch_threads": 9})
    with pytest.raises(NotComparableError, match="threads differs from the baseline's; calibrate"):
        require_same_code(baseline, make_run(timed(1.0, environment=there), name="elsewhere"))
    with pytest.raises(NotComparableError, match=r"peak_allocated_bytes rose 20.0 % .* calibrate"):
        require_same_code(baseline, make_run(timed(1.0, peak=12 * 2**30), name="larger"))
