"""Compares two sets of records, case by case."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from rmmbench.report.check.comparable import (
    Pair,
    other_warnings,
    timed_elsewhere,
    transformers_warnings,
)
from rmmbench.report.check.report import CaseResult, Finding, Report, Verdict, one_sided
from rmmbench.report.check.throughput import Stored
from rmmbench.results.record import Record
from rmmbench.units import MIB


@dataclass(frozen=True)
class Tolerances:
    """How much worse a case may become, as fractions of the baseline.

    Attributes:
        memory_floor_bytes: Measured memory may always change by this much. Predicted memory is the
            same to the byte for the same code, and has no floor.
    """

    memory: float = 0.01
    throughput: float = 0.05
    memory_floor_bytes: float = 2 * MIB

    def __post_init__(self) -> None:
        for name in ("memory", "throughput"):
            value = getattr(self, name)
            if math.isnan(value) or not 0 <= value < 1:
                limits = "must be at least 0 and below 1"
                raise ValueError(f"the {name} tolerance {limits}, got {value:g}")


Judge = Callable[[Record, Record], Iterator[Finding]]
"""Yields what is found of the throughput of one case, the baseline's record first."""

_NOTHING = "nothing was measured of it that a check compares"


def matched(baseline: Iterable[Record], run: Iterable[Record]) -> list[Pair]:
    """Return the two records of every case that is in both; of a case's several the last."""
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
    """Compare every case of the baseline with the run's, and name those that are new.

    Whether the two are comparable at all is for `rmmbench.report.check.comparable` to say.

    Args:
        baseline: Records to compare with.
        run: Records to judge.
        tolerances: How much worse a case may become.
        allow: "processor" and "threads" compare what was timed elsewhere.
        judge: Judges throughput; by default by the two records of a case alone.
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
    warnings = allowed + transformers_warnings(pairs) + other_warnings(pairs)
    return Report(tuple(cases), warnings)


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
    if old.converted is not None and new.converted is not None:
        yield _converted(new, old.converted, new.converted)
    yield from judge(old, new)
    if old.training and new.training:
        reason = "one run's score says little; see means over seeds with `rmmbench table`"
        yield Finding(new.case, "score", Verdict.NOT_JUDGED, reason=reason)


def _outcome(old: Record | None, new: Record | None) -> Finding:
    """Judge a case that is not ok, or not there, on one side at least."""
    if new is None:
        assert old is not None
        return Finding(old.case, "outcome", Verdict.MISSING, old.outcome, None)
    before = old.outcome if old else None
    if old is None:
        verdict = Verdict.NEW
    elif new.outcome == before:
        verdict = Verdict.SAME
    else:
        # To fail another way than before is a change that somebody has to look at.
        verdict = Verdict.IMPROVED if new.outcome == "ok" else Verdict.FAILED
    return Finding(new.case, "outcome", verdict, before, new.outcome, reason=new.reason)


def _memory(what: str, before: int, now: int, new: Record, limits: Tolerances) -> Finding:
    relative = limits.memory * before
    is_predicted = new.memory is not None and new.memory.device == "predict"
    limit = relative if is_predicted else max(relative, limits.memory_floor_bytes)
    verdict = Verdict.SAME
    if abs(now - before) > limit:
        verdict = Verdict.REGRESSED if now > before else Verdict.IMPROVED
    tolerance = limits.memory if limit == relative and before else None
    return Finding(new.case, what, verdict, before, now, limit, tolerance)


def _converted(new: Record, before: int, now: int) -> Finding:
    """Judge how many layers the method changed: a count, which no noise moves."""
    verdict = Verdict.SAME
    if now != before:
        verdict = Verdict.REGRESSED if now < before else Verdict.IMPROVED
    return Finding(new.case, "converted", verdict, before, now, limit=0)
