"""Judges from stored records whether a case became slower relative to exact."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from rmmbench.report.check.calibration import NONE, Calibration, measured
from rmmbench.report.check.comparable import Pair, refusal, timed_elsewhere
from rmmbench.report.check.evidence import ASSUMED_SPREAD, Evidence, between, beyond_doubt, spread
from rmmbench.report.check.report import Finding, Verdict, one_sided
from rmmbench.results import paired
from rmmbench.results.record import Record
from rmmbench.spec.case import Case
from rmmbench.units import format_percent

WHAT: Final = "relative_throughput"
_IN_ERRORS: Final = 1.96
"""Half the width of a `paired.CONFIDENCE` interval, in standard errors."""


@dataclass(frozen=True)
class Stored:
    """Judges relative throughput by the two records of a case and their calibrations, if any.

    Attributes:
        tolerance: The fall to find, as a fraction.
        cases: How many are judged.
        allow: "processor" and "threads" allow times of different ones to be compared.
        before, now: Further runs of the baseline's code, and of the run's.
    """

    tolerance: float
    cases: int
    allow: Collection[str] = ()
    before: Calibration = NONE
    now: Calibration = NONE

    @classmethod
    def of(
        cls,
        pairs: Sequence[Pair],
        tolerance: float,
        allow: Collection[str] = (),
        before: Calibration = NONE,
        now: Calibration = NONE,
    ) -> Self:
        """Return the judge of these pairs of records."""
        both = [all(measured(record.timing) for record in pair) for pair in pairs]
        return cls(tolerance, max(1, sum(both)), allow, before, now)

    def __call__(self, old: Record, new: Record) -> Iterator[Finding]:
        """Yield the finding on one case; nothing for exact, which has no reference."""
        before, now = measured(old.timing), measured(new.timing)
        if before is None and now is None:
            yield from _alone(old, new)
        elif before is None or now is None:
            values = before.value if before else None, now.value if now else None
            yield from one_sided(WHAT, *values, new, "timing")
        else:
            yield self._finding(old, new, before, now)

    def _finding(
        self, old: Record, new: Record, before: paired.Median, now: paired.Median
    ) -> Finding:
        verdict, excluded_fall = Verdict.NOT_COMPARABLE, None
        reason = refusal(timed_elsewhere(old, new), self.allow)
        if reason is None:
            evidence, reason = self._evidence(old.case, before, now)
            verdict = evidence.verdict(self.tolerance) if evidence else Verdict.NOT_ENOUGH_EVIDENCE
            excluded_fall = evidence.excluded_fall if evidence else None
            if verdict is not Verdict.NOT_ENOUGH_EVIDENCE:
                reason = None
        return Finding(
            new.case,
            WHAT,
            verdict,
            before.value,
            now.value,
            limit=self.tolerance * before.value,
            tolerance=self.tolerance,
            reason=reason,
            excluded_fall=excluded_fall,
        )

    def _evidence(
        self, case: Case, before: paired.Median, now: paired.Median
    ) -> tuple[Evidence | None, str]:
        """Return the evidence of the runs, if any, and why there is no more of it."""
        values = [math.log(before.value), *self.before.logarithms(case)]
        values_now = [math.log(now.value), *self.now.logarithms(case)]
        error = (now.spread or 0.0) / _IN_ERRORS
        count = len(values) + len(values_now)
        if count > 2:
            evidence = between(values, values_now, error, self.cases)
            differ = format_percent(math.expm1(spread(values, values_now)))
            return evidence, f"runs of one code differ by {differ} here ({count} runs)"
        if before.spread is None or now.spread is None:
            return None, "1 pair of steps does not show the noise; raise min_steps in [timing]"
        errors = [before.spread / _IN_ERRORS, error]
        change = values_now[0] - values[0]
        assumed = format_percent(ASSUMED_SPREAD)
        why = f"nothing is known of how much runs of one code differ, and {assumed} is assumed"
        remedy = "calibrate the baseline with --calibrate, or compare with --rerun"
        return beyond_doubt(change, errors, self.cases, self.tolerance), f"{why}; {remedy}"


def _alone(old: Record, new: Record) -> Iterator[Finding]:
    """Yield the finding on a method that was timed without exact in both runs."""
    if old.timing is None or new.timing is None or new.case.method == "exact":
        return
    values = old.timing.samples_per_second, new.timing.samples_per_second
    reason = "it took no turns with exact, and a machine's speed drifts; compare with --rerun"
    yield Finding(
        new.case, "samples_per_second", Verdict.NOT_ENOUGH_EVIDENCE, *values, reason=reason
    )
