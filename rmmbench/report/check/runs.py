"""Compares two run directories after checking that they are comparable."""

from collections.abc import Collection
from dataclasses import replace

from rmmbench.errors import NoBaselineError, NotComparableError, UsageError
from rmmbench.report.check import calibration, wording
from rmmbench.report.check.comparable import differences, require, timed_elsewhere
from rmmbench.report.check.compare import Tolerances, compare, matched
from rmmbench.report.check.report import Report, Verdict
from rmmbench.report.check.throughput import Stored
from rmmbench.results.counts import COUNTS
from rmmbench.results.reading import uncollected
from rmmbench.results.store import Run, shared_records

_STEADY = frozenset(
    {"outcome", "converted", "peak_allocated_bytes", "saved_bytes", "reserved_bytes", *COUNTS}
)


@uncollected()
def compare_runs(
    baseline: Run,
    run: Run,
    tolerances: Tolerances | None = None,
    *,
    allow: Collection[str] = (),
    strict: bool = False,
) -> Report:
    """Return what changed from `baseline` to `run`.

    Args:
        baseline: The run to compare with.
        run: The run to judge.
        tolerances: How much worse a case may become.
        allow: What may differ between the two: "gpu", "torch", "profile", "processor", "threads".
        strict: Whether "not enough evidence" is a failure.

    Raises:
        NotComparableError: If something else differs.
        NoBaselineError: If the baseline has no records.
        UsageError: If the run has none.
    """
    shared = shared_records("case", most=1_000_000)
    before, now = baseline.records(shared), run.records(shared)
    del shared  # and the text of all it knows
    if not now:
        raise UsageError(f"{run.path} has no records; measure some with `rmmbench sweep`")
    if not before:
        hint = "make this run the baseline with --save"
        raise NoBaselineError(f"the baseline at {baseline.path} has no records; {hint}")
    pairs = matched(before, now)
    warnings = require(differences(baseline.info, run.info, pairs), allow)
    limits = tolerances or Tolerances()
    is_itself = baseline.path.resolve() == run.path.resolve()
    more = [calibration.read(one.path) for one in ((baseline,) if is_itself else (baseline, run))]
    judge = Stored.of(pairs, limits.throughput, allow, *more)
    report = compare(before, now, limits, allow=allow, judge=judge)
    return replace(
        report,
        warnings=warnings + report.warnings,
        run=str(run.path),
        baseline=str(baseline.path),
        strict=strict,
    )


def require_same_code(baseline: Run, again: Run) -> None:
    """Check that a run measured the baseline's code again, on the same machine.

    Raises:
        NotComparableError: If anything differs that does not vary from run to run.
    """
    before, now = baseline.records(), again.records()
    pairs = matched(before, now)
    found = differences(baseline.info, again.info, pairs)
    found += [difference for pair in pairs for difference in timed_elsewhere(*pair)]
    facts = [f"{difference.name} differs from the baseline's" for difference in found]
    steady = [one for one in compare(before, now).findings if one.what in _STEADY]
    facts += [wording.line(one) for one in steady if one.verdict is not Verdict.SAME]
    if facts:
        hint = "calibrate with the code and on the machine of the baseline, or save a new one"
        raise NotComparableError(f"{facts[0]}; {hint}")
