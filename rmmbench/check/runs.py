"""Compares two run directories, once it is sure that they can be compared."""

from collections.abc import Collection
from dataclasses import replace

from rmmbench.check.comparable import differences, require
from rmmbench.check.compare import Tolerances, compare, matched
from rmmbench.check.report import Report
from rmmbench.errors import NoBaselineError, UsageError
from rmmbench.store import Run


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
    before, now = baseline.records(), run.records()
    if not now:
        raise UsageError(f"{run.path} has no records; measure some with `rmmbench sweep`")
    if not before:
        hint = "make this run the baseline with --save"
        raise NoBaselineError(f"the baseline at {baseline.path} has no records; {hint}")
    found = differences(baseline.info, run.info, matched(before, now))
    warnings = require(found, allow)
    report = compare(before, now, tolerances, allow=allow)
    return replace(
        report,
        warnings=warnings + report.warnings,
        run=str(run.path),
        baseline=str(baseline.path),
        strict=strict,
    )
