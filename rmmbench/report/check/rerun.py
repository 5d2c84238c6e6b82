"""Compares two codes by runs of both in turn, until the evidence is enough or the time is up.

A block is four runs: baseline, candidate, candidate, baseline. A case is judged by its throughput
relative to exact, and exact by its samples per second, so that a change that slows down everything
is seen too. Runs in turn cancel the drift of the machine.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from rmmbench.report.check.calibration import measured
from rmmbench.report.check.comparable import versions
from rmmbench.report.check.compare import Tolerances, compare, matched
from rmmbench.report.check.evidence import fewest_pairs, in_turn, spread
from rmmbench.report.check.report import Finding, Report, Verdict
from rmmbench.report.check.throughput import WHAT
from rmmbench.results.record import Record
from rmmbench.units import format_count, format_percent

Side = Literal["baseline", "candidate"]
Measure = Callable[[Side], list[Record]]
"""Measures all cases once with one side's code."""

RunPair = tuple[list[Record], list[Record]]
"""The records of two consecutive runs, the baseline's and the candidate's."""

_BLOCK: Final[tuple[tuple[Side, Side], ...]] = (
    ("baseline", "candidate"),
    ("candidate", "baseline"),
)


def rerun(
    measure: Measure,
    tolerances: Tolerances,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Report]:
    """Yield a report after each block, until every case is decided or the next would take too long.

    Args:
        measure: Measures one side once.
        tolerances: How much worse a case may become.
        seconds: The time for all blocks; the first is measured in any case.
        clock: Returns the time in seconds.
    """
    start, pairs = clock(), list[RunPair]()
    while True:
        for order in _BLOCK:
            runs = {side: measure(side) for side in order}
            pairs.append((runs["baseline"], runs["candidate"]))
        report = judged(pairs, tolerances)
        yield report
        with_another = (clock() - start) * (1 + len(_BLOCK) / len(pairs))
        if not (undecided(report) and with_another <= seconds):
            return


def undecided(report: Report) -> int:
    """Return how many cases need more runs."""
    waiting = Verdict.NOT_ENOUGH_EVIDENCE
    return sum(one.verdict is waiting and one.reason is not None for one in report.findings)


def runs_left(report: Report, runs: int) -> int:
    """Return the fewest runs that it takes to decide what is undecided, after so many."""
    left = undecided(report)
    if not left:
        return 0
    return max(2 * len(_BLOCK), 2 * fewest_pairs(len(report.cases)) - runs)


def judged(pairs: Sequence[RunPair], tolerances: Tolerances) -> Report:
    """Return the report on pairs of runs.

    Throughput is judged by all pairs; all else has no noise and is judged by the first.
    """
    baseline, candidate = pairs[0]
    timed = [old.key for old, new in matched(baseline, candidate) if old.timing and new.timing]
    by_key = [tuple({one.key: one for one in side} for side in pair) for pair in pairs]
    judge = InTurn(by_key, tolerances.throughput, len(timed))
    report = compare(baseline, candidate, tolerances, judge=judge)
    warnings = [*versions(matched(baseline, candidate)), *_later_failures(pairs)]
    return replace(report, warnings=(*warnings, *report.warnings))


@dataclass(frozen=True)
class InTurn:
    """Judges the throughput of a case by all pairs of runs.

    Attributes:
        pairs: The records of both runs of each pair, by key.
        tolerance: The fall to find, as a fraction.
        cases: How many are judged.
    """

    pairs: Sequence[tuple[Mapping[str, Record], ...]]
    tolerance: float
    cases: int

    def __call__(self, old: Record, new: Record) -> Iterator[Finding]:
        """Yield the finding on one case; nothing if it was not timed."""
        if old.timing is None or new.timing is None:
            return
        is_relative = measured(old.timing) is not None and measured(new.timing) is not None
        values = list(self._values(old.key, is_relative))
        befores, nows = zip(*values, strict=True)
        before, now = statistics.geometric_mean(befores), statistics.geometric_mean(nows)
        differences = [math.log(now / before) for before, now in values]
        evidence = in_turn(differences, self.cases, self.tolerance)
        verdict = evidence.verdict(self.tolerance) if evidence else Verdict.NOT_ENOUGH_EVIDENCE
        yield Finding(
            new.case,
            WHAT if is_relative else "samples_per_second",
            verdict,
            before,
            now,
            limit=self.tolerance * before,
            tolerance=self.tolerance,
            reason=_why(differences, self.cases)
            if verdict is Verdict.NOT_ENOUGH_EVIDENCE
            else None,
            excluded_fall=evidence.excluded_fall if evidence else 1.0,
        )

    def _values(self, key: str, is_relative: bool) -> Iterator[tuple[float, float]]:
        """Yield the case's throughput in both runs of each pair in which both have it."""
        for pair in self.pairs:
            before, now = (_speed(side.get(key), is_relative) for side in pair)
            if before is not None and now is not None:
                yield before, now


def _speed(record: Record | None, is_relative: bool) -> float | None:
    if record is None or record.timing is None:
        return None
    if not is_relative:
        return record.timing.samples_per_second
    found = measured(record.timing)
    return found.value if found else None


def _why(differences: Sequence[float], cases: int) -> str:
    count, fewest = len(differences), fewest_pairs(cases)
    if count < fewest:
        few = f"{format_count(count, 'pair')} of runs, and it takes {fewest}"
    else:
        few = f"{count} pairs of runs differ by {format_percent(math.expm1(spread(differences)))}"
    return f"{few}; give more time with --max-minutes"


def _later_failures(pairs: Sequence[RunPair]) -> Iterator[str]:
    """Yield a warning per case and side that was ok in the first run and failed in a later one."""
    for number, side in enumerate(("baseline", "candidate")):
        first = {one.key for one in pairs[0][number] if one.outcome == "ok"}
        failed: dict[str, list[Record]] = {}
        for pair in pairs[1:]:
            for record in pair[number]:
                if record.key in first and record.outcome != "ok":
                    failed.setdefault(record.case.title, []).append(record)
        for title, records in failed.items():
            of = f"{len(records)} of {len(pairs)} runs of the {side} ended with"
            yield f"{title}: {of} {records[0].outcome}"
