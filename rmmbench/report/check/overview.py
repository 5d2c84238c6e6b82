"""What people see of a report: the rows of its table, the remarks below it, the counts."""

from collections import Counter

from rmmbench.report.check import wording
from rmmbench.report.check.report import Finding, Report, Verdict
from rmmbench.units import format_count, format_percent


def rows(report: Report, *, every: bool = False) -> list[tuple[Finding, ...]]:
    """Return the remarkable findings, or `every` one, by case, the gravest case first."""
    cases = [
        tuple(one for one in case.findings if every or one.is_remarkable) for case in report.cases
    ]
    return sorted(filter(None, cases), key=lambda found: min(one.order() for one in found))


def summary(report: Report) -> str:
    """Return the counts in one line: "28 cases: 1 regressed, 1 improved, 26 same"."""
    return f"{format_count(len(report.cases), 'case')}: {report.counted}"


def remarks(report: Report) -> list[str]:
    """Return lines to show below the table: warnings, reasons, what to do next."""
    lines = [f"warning: {warning}" for warning in report.warnings]
    told = {Verdict.FAILED, Verdict.MISSING, Verdict.NOT_ENOUGH_EVIDENCE}
    for finding in report.findings:
        if finding.verdict in told and finding.reason and finding.excluded_fall is None:
            what = "" if finding.what == "outcome" else f", {wording.PROSE[finding.what]}"
            case = f"{wording.name(finding.case)}{what}"
            lines.append(f"{finding.verdict}: {case}: {wording.shortened(finding.reason)}")
    lines += [*cannot_tell(report), *not_compared(report)]
    lines += _told_together(report, Verdict.NOT_JUDGED, "not judged")
    if Verdict.IMPROVED in report.counts:
        lines.append("to keep what improved, make this run the baseline with --save")
    return lines


def not_compared(report: Report) -> list[str]:
    """Return a line for each reason why cases could not be compared."""
    return _told_together(report, Verdict.NOT_COMPARABLE, "not compared")


def _told_together(report: Report, verdict: Verdict, said: str) -> list[str]:
    found = [finding for finding in report.findings if finding.verdict is verdict]
    counts = Counter((wording.PROSE[one.what], one.reason or "") for one in found)
    return [
        f"{what} of {format_count(count, 'case')} {said}: {reason}"
        for (what, reason), count in counts.items()
    ]


def cannot_tell(report: Report) -> list[str]:
    """Return a line for each reason why falls of throughput could not be seen, and how large."""
    falls: dict[str, list[float]] = {}
    for one in report.findings:
        if one.verdict is Verdict.NOT_ENOUGH_EVIDENCE and one.excluded_fall is not None:
            falls.setdefault(one.reason or "", []).append(one.excluded_fall)
    return [
        f"throughput of {format_count(len(found), 'case')}: cannot tell below "
        f"{' to '.join(dict.fromkeys(format_percent(f(found)) for f in (min, max)))}: {reason}"
        for reason, found in falls.items()
    ]
