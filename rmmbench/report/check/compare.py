"""Compares two sets of records, case by case."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from rmmbench.report.check.comparable import Pair, environment_warnings, timed_elsewhere
from rmmbench.report.check.directions import is_worse
from rmmbench.report.check.report import CaseResult, Finding, Report, Verdict, one_sided
from rmmbench.report.check.throughput import Stored
from rmmbench.results.counts import COUNTS
from rmmbench.results.record import Record
from rmmbench.units import MIB


@dataclass(frozen=True)
class Tolerances:
    """How much worse a case may become, as fractions of the baseline.

    Attributes:
        memory_floor_bytes: Measured memory may always change by this much. Predicted memory has no
            such floor, because the same code gives the same bytes.
        reserved_floor_bytes: What is reserved may always change by this much, predicted or not: the
            caching allocator takes up to so much at once, and one tensor may be what makes it.
    """

    memory: float = 0.01
    throughput: float = 0.05
    memory_floor_bytes: float = 2 * MIB
    reserved_floor_bytes: float = 20 * MIB

    def __post_init__(self) -> None:
        for name in ("memory", "throughput"):
            value = getattr(self, name)
            if math.isnan(value) or not 0 <= value < 1:
                limits = "must be at least 0 and below 1"
                raise ValueError(f"the {name} tolerance {limits}, got {value:g}")


Judge = Callable[[Record, Record], Iterator[Finding]]
"""Yields the findings on a case's throughput, from the baseline's record and the run's."""

_NOTHING = "it has no measurement that a check compares"


def matched(baseline: Iterable[Record], run: Iterable[Record]) -> list[Pair]:
    """Return the two records of every case in both; the last record of a case counts."""
    old, new = _by_key(baseline), _by_key(run)
    return [(old[key], new[key]) for key in old if key in new]


def compare(
    baseline: Iterable[Record],
    run: Iterable[Record],
    tolerances: Tolerances | None = None,
    *,
    allow: Collection[str] = (),
    judge: Judge | None = None,
) -> Report:
    """Compare every case of the baseline with the run's, and report new cases.

    It does not ask whether the two are comparable; `rmmbench.report.check.comparable` does.

    Args:
        baseline: Records to compare with.
        run: Records to judge.
        tolerances: How much worse a case may become.
        allow: "processor" and "threads" allow times of different ones to be compared.
        judge: Judges throughput; by default from the two records of a case.
    """
    limits = tolerances or Tolerances()
    old, new = _by_key(baseline), _by_key(run)
    pairs = matched(old.values(), new.values())
    judge = judge or Stored.of(pairs, limits.throughput, allow)
    cases = []
    for key in old | new:
        case = (new.get(key) or old[key]).case
        found = tuple(_findings(old.get(key), new.get(key), limits, judge))
        found = found or (Finding(case, "outcome", Verdict.NOT_JUDGED, reason=_NOTHING),)
        cases.append(CaseResult(key, case, found))
    moved = dict.fromkeys(one for pair in pairs for one in timed_elsewhere(*pair))
    allowed = tuple(f"{one} (allowed)" for one in moved if one.name in allow)
    return Report(tuple(cases), allowed + environment_warnings(pairs))


def _by_key(records: Iterable[Record]) -> dict[str, Record]:
    return {record.key: record for record in records}


def _findings(
    old: Record | None, new: Record | None, limits: Tolerances, judge: Judge
) -> Iterator[Finding]:
    if old is None or new is None or not old.outcome == new.outcome == "ok":
        yield _outcome(old, new)
        return
    for what in ("peak_allocated_bytes", "saved_bytes"):
        before, now = getattr(old.memory, what, None), getattr(new.memory, what, None)
        if before is None or now is None:
            yield from one_sided(what, before, now, new, "memory")
        else:
            yield _memory(what, before, now, new, limits)
    yield from _reserved(old, new, limits)
    yield from _counts(old, new)
    if old.converted is not None and new.converted is not None:
        yield _converted(new, old.converted, new.converted)
    yield from judge(old, new)
    if old.training and new.training:
        reason = "one run's score says little; see means over seeds with `rmmbench table`"
        yield Finding(new.case, "score", Verdict.NOT_JUDGED, reason=reason)


def _outcome(old: Record | None, new: Record | None) -> Finding:
    """Judge a case that failed or is missing on at least one side."""
    if new is None:
        assert old is not None
        return Finding(old.case, "outcome", Verdict.MISSING, old.outcome, None)
    before = old.outcome if old else None
    if old is None:
        verdict = Verdict.NEW
    elif new.outcome == before:
        verdict = Verdict.SAME
    else:
        # A case that now fails in another way is a change that somebody has to look at.
        verdict = Verdict.IMPROVED if new.outcome == "ok" else Verdict.FAILED
    return Finding(new.case, "outcome", verdict, before, new.outcome, reason=new.reason)


def _memory(what: str, before: int, now: int, new: Record, limits: Tolerances) -> Finding:
    relative = limits.memory * before
    is_predicted = new.memory is not None and new.memory.device == "predict"
    limit = relative if is_predicted else max(relative, limits.memory_floor_bytes)
    tolerance = limits.memory if limit == relative and before else None
    verdict = _moved(what, before, now, limit)
    return Finding(new.case, what, verdict, before, now, limit, tolerance)


def _reserved(old: Record, new: Record, limits: Tolerances) -> Iterator[Finding]:
    """Judge what is reserved; what older baselines do not know is not new."""
    what = "reserved_bytes"
    before, now = getattr(old.memory, what, None), getattr(new.memory, what, None)
    if before is None or now is None:
        yield from one_sided(what, before, None, new, "memory")
        return
    relative = limits.memory * before
    limit = max(relative, limits.reserved_floor_bytes)
    tolerance = limits.memory if limit == relative else None
    verdict = _moved(what, before, now, limit)
    yield Finding(new.case, what, verdict, before, now, limit, tolerance)


def _counts(old: Record, new: Record) -> Iterator[Finding]:
    """Judge the work of a step: counts without noise; more of it is a regression."""
    for what in COUNTS:
        before, now = getattr(old.counts, what, None), getattr(new.counts, what, None)
        if before is None or now is None:
            yield from one_sided(what, before, None, new, "counts")
        else:
            yield Finding(new.case, what, _moved(what, before, now, 0), before, now, limit=0)


def _converted(new: Record, before: int, now: int) -> Finding:
    """Judge how many layers the method changed: a count without noise."""
    what = "converted"
    return Finding(new.case, what, _moved(what, before, now, 0), before, now, limit=0)


def _moved(what: str, before: float, now: float, limit: float) -> Verdict:
    """Return the verdict on a number that may be this far from what it was."""
    if abs(now - before) <= limit:
        return Verdict.SAME
    return Verdict.REGRESSED if is_worse(what, before, now) else Verdict.IMPROVED
