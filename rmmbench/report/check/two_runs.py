"""`rmmbench.load` and `rmmbench.compare`: runs by path or name, judged as `rmmbench check` does."""

from collections.abc import Collection
from pathlib import Path

from rmmbench.errors import UnknownNameError, arguments_checked
from rmmbench.report.check import baseline as baselines
from rmmbench.report.check.compare import Tolerances
from rmmbench.report.check.report import Report
from rmmbench.report.check.runs import compare_runs
from rmmbench.results.store import Run


@arguments_checked
def load(path: str | Path) -> Run:
    """Open a run directory: `.records()` returns its records, `.frame()` a row per case.

    Args:
        path: A directory that `rmmbench sweep` or `rmmbench.run` wrote, or the name of a baseline
            that comes with rmmbench, such as "ci".

    Raises:
        RunError: If it is not a run directory.

    Examples:
        >>> import rmmbench
        >>> frame = rmmbench.load("frontier-predict").frame()
        >>> int(frame[frame.method == "exact"].peak_allocated_bytes.iloc[0])
        11014624256
    """
    return Run.open(baselines.find(str(path)))


def opened(run: Run | str | Path) -> Run:
    """Return the run; open it if a path or name is given."""
    return run if isinstance(run, Run) else load(run)


@arguments_checked
def compare(
    run: Run | str | Path,
    baseline: Run | str | Path,
    *,
    memory_tolerance: float = 0.01,
    throughput_tolerance: float = 0.05,
    allow: Collection[str] = (),
    strict: bool = False,
) -> Report:
    """Return what changed from a baseline to a run, judged as `rmmbench check` does.

    The report has `verdict` (the gravest of all cases, a text such as "same" or "regressed"),
    `changes` (the remarkable findings), `cases`, `warnings`, `exit_code` and `frame()`.

    Args:
        run: The run to judge: what `load` or `run` returned, or a path.
        baseline: The run to compare with; also the name of one that comes with rmmbench.
        memory_tolerance: How much memory may rise, as a fraction.
        throughput_tolerance: The fall in throughput to find, as a fraction.
        allow: What may differ: "gpu", "torch", "profile", "processor", "threads".
        strict: Whether too little evidence is a failure.

    Raises:
        NotComparableError: If something else differs.
        NoBaselineError: If the baseline is missing or has no records.
        RunError: If the run is not a run directory.
        ValueError: If a tolerance is not from 0 to below 1.

    Examples:
        >>> import rmmbench
        >>> report = rmmbench.compare("ci", "ci")
        >>> report.verdict.value, report.changes
        ('same', ())
    """
    known = ("gpu", "torch", "profile", "processor", "threads")
    for name in allow:
        if name not in known:
            raise UnknownNameError("difference to allow", name, known)
    measured = opened(run)
    before = baseline
    if not isinstance(before, Run):
        before = baselines.open_baseline(baselines.find(str(baseline)))
    tolerances = Tolerances(memory_tolerance, throughput_tolerance)
    return compare_runs(before, measured, tolerances, allow=allow, strict=strict)
