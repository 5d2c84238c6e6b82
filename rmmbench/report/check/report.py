"""The findings of a comparison, by case, and the verdict on all of them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

from rmmbench.errors import Exit
from rmmbench.results.record import Record
from rmmbench.spec.case import Case

if TYPE_CHECKING:
    from pandas import DataFrame


class Verdict(StrEnum):
    """The verdict on one measure or one case, the gravest first."""

    FAILED = "failed"
    MISSING = "missing"
    REGRESSED = "regressed"
    NOT_COMPARABLE = "not comparable"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"
    IMPROVED = "improved"
    NEW = "new"
    SAME = "same"
    NOT_JUDGED = "not judged"

    @property
    def gravity(self) -> int:
        """The position in the list above; 0 is the gravest."""
        return _GRAVITY[self]


_GRAVITY = {verdict: place for place, verdict in enumerate(Verdict)}
FAILING = frozenset({Verdict.FAILED, Verdict.MISSING, Verdict.REGRESSED})
UNREMARKABLE = frozenset({Verdict.SAME, Verdict.NOT_JUDGED, Verdict.NOT_COMPARABLE})
_ON_ONE_SIDE = frozenset({Verdict.MISSING, Verdict.NEW})


@dataclass(frozen=True)
class Finding:
    """One measure of one case, in the baseline and now.

    Attributes:
        what: The field compared: "peak_allocated_bytes", "saved_bytes", "reserved_bytes", "flops",
            "moved_bytes", "operator_calls", "converted",
            "relative_throughput", "samples_per_second" (of runs in turn), "score" (which is not
            judged), or "outcome".
        baseline, now: Its values, in the field's unit; None if missing.
        limit: How far `now` may be from `baseline`, in the field's unit.
        tolerance: `limit` as a fraction of `baseline`; None for a limit of fixed size.
        reason: Why the verdict is what it is, if the numbers do not show it.
        excluded_fall: The smallest fall of throughput that this comparison excludes, as a
            fraction; None for fields without noise, or if the noise is unknown.
    """

    case: Case
    what: str
    verdict: Verdict
    baseline: float | str | None = None
    now: float | str | None = None
    limit: float | None = None
    tolerance: float | None = None
    reason: str | None = None
    excluded_fall: float | None = None

    @property
    def is_remarkable(self) -> bool:
        """Whether it is worth a row: a change, or an apparent fall beyond the tolerance."""
        if self.verdict is Verdict.NOT_ENOUGH_EVIDENCE and self.excluded_fall is not None:
            return (self.change or 0) < -(self.tolerance or 0)
        return self.verdict not in UNREMARKABLE

    @property
    def difference(self) -> float | None:
        """`now` − `baseline`; None unless both are numbers."""
        if isinstance(self.baseline, str | None) or isinstance(self.now, str | None):
            return None
        return self.now - self.baseline

    @property
    def change(self) -> float | None:
        """The difference as a fraction of the baseline; None if that is 0 or not a number."""
        if self.difference is None or isinstance(self.baseline, str) or not self.baseline:
            return None
        return self.difference / self.baseline

    @property
    def excess(self) -> float:
        """The difference ÷ its limit; 0 without a limit."""
        return abs(self.difference or 0) / self.limit if self.limit else 0.0

    def order(self) -> tuple[int, float]:
        """Return the sort key: the gravest first, then those furthest beyond their limit."""
        return self.verdict.gravity, -round(self.excess, 6)


def one_sided(
    what: str, before: float | None, now: float | None, new: Record, section: str
) -> Iterator[Finding]:
    """Yield the finding on a number that only one side has; nothing if neither has it."""
    if before is not None:
        reason = new.why_missing(f"{section}.{what}")
        yield Finding(new.case, what, Verdict.MISSING, before, None, reason=reason)
    elif now is not None:
        yield Finding(new.case, what, Verdict.NEW, None, now)


@dataclass(frozen=True)
class CaseResult:
    """The findings on one case."""

    key: str
    case: Case
    findings: tuple[Finding, ...]

    @cached_property
    def verdict(self) -> Verdict:
        """The gravest of its findings'."""
        return min((finding.verdict for finding in self.findings), key=lambda one: one.gravity)


@dataclass(frozen=True)
class Report:
    """All findings of a comparison.

    Attributes:
        warnings: What makes the comparison itself doubtful.
        run, baseline: The names of what was compared.
        strict: Whether "not enough evidence" is a failure.
    """

    cases: tuple[CaseResult, ...]
    warnings: tuple[str, ...] = ()
    run: str = "the run"
    baseline: str = "the baseline"
    strict: bool = False

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding, the gravest first, then those furthest beyond their limit."""
        found = [finding for case in self.cases for finding in case.findings]
        return tuple(sorted(found, key=Finding.order))

    @property
    def verdict(self) -> Verdict:
        """The gravest of its cases'."""
        return min(self.counts, key=lambda one: one.gravity, default=Verdict.SAME)

    @property
    def changes(self) -> tuple[Finding, ...]:
        """The remarkable findings, the gravest first; empty if nothing changed."""
        return tuple(finding for finding in self.findings if finding.is_remarkable)

    def frame(self) -> "DataFrame":
        """Return a pandas DataFrame with a row per finding, in the unit of the field compared."""
        from pandas import DataFrame

        names = ("baseline", "now", "change", "limit", "reason")
        rows = [
            {"key": one.case.key, "case": one.case.title, "what": one.what}
            | {"verdict": str(one.verdict)}
            | {name: getattr(one, name) for name in names}
            for one in self.findings
        ]
        return DataFrame(rows)

    def __str__(self) -> str:
        return f"{self.run} against {self.baseline}: {self.counted}"

    def _repr_html_(self) -> str:
        changed = self.frame()[[finding.is_remarkable for finding in self.findings]]
        table = "" if changed.empty else str(changed.to_html(index=False))
        return f"<p>{escape(str(self))}</p>{table}"

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many cases have each verdict, the gravest first."""
        counts = Counter(case.verdict for case in self.cases)
        return {verdict: counts[verdict] for verdict in Verdict if counts[verdict]}

    @property
    def counted(self) -> str:
        """The counts as text: "1 regressed, 26 same"."""
        return ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items())

    @property
    def exit_code(self) -> Exit:
        """The exit code of `rmmbench check`.

        It is NOT_COMPARABLE if no case could be compared by some measure, and NOT_ENOUGH_EVIDENCE
        if each measure could compare some cases but not all.
        """
        verdicts = set(self.counts)
        if verdicts & FAILING:
            return Exit.REGRESSION
        if Verdict.NOT_COMPARABLE in verdicts:
            return Exit.NOT_ENOUGH_EVIDENCE if self._is_partly_compared else Exit.NOT_COMPARABLE
        if self.strict and Verdict.NOT_ENOUGH_EVIDENCE in verdicts:
            return Exit.NOT_ENOUGH_EVIDENCE
        return Exit.OK

    def fails(self, verdict: Verdict) -> bool:
        """Return whether one such verdict makes the whole check fail."""
        if verdict is Verdict.NOT_ENOUGH_EVIDENCE:
            return self.strict
        return verdict in FAILING or verdict is Verdict.NOT_COMPARABLE

    @property
    def _is_partly_compared(self) -> bool:
        """Whether each measure that could not compare some cases did compare others."""
        two_sided = [one for one in self.findings if one.verdict not in _ON_ONE_SIDE]
        refused = {one.what for one in two_sided if one.verdict is Verdict.NOT_COMPARABLE}
        return refused <= {
            one.what for one in two_sided if one.verdict is not Verdict.NOT_COMPARABLE
        }
