"""What of a report is shown: the rows of its table, the remarks beside it, the counts."""

from rmmbench.check import wording
from rmmbench.check.report import UNREMARKABLE, Finding, Report, Verdict


def rows(report: Report, *, every: bool = False) -> list[tuple[Finding, ...]]:
    """Return, case by case, the findings worth a row: those that are not the same, or `every` one.

    The case with the gravest finding comes first.
    """
    cases = [
        tuple(one for one in case.findings if every or one.verdict not in UNREMARKABLE)
        for case in report.cases
    ]
    return sorted(filter(None, cases), key=lambda found: min(one.order() for one in found))


def summary(report: Report) -> str:
    """Return the counts in one line: "28 cases: 1 regressed, 1 improved, 26 same"."""
    total = len(report.cases)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items())
    return f"{total} case{'' if total == 1 else 's'}: {counts}"


def remarks(report: Report) -> list[str]:
    """Return what to know beside the table, a line each: warnings, reasons, what to do next."""
    lines = [f"warning: {warning}" for warning in report.warnings]
    told = {Verdict.FAILED, Verdict.MISSING, Verdict.NOT_ENOUGH_EVIDENCE}
    for finding in report.findings:
        if finding.verdict in told and finding.reason:
            what = "" if finding.what == "outcome" else f", {wording.PROSE[finding.what]}"
            case = f"{wording.name(finding.case)}{what}"
            lines.append(f"{finding.verdict}: {case}: {wording.shortened(finding.reason)}")
    lines += [*not_compared(report), *_told_together(report, Verdict.NOT_JUDGED, "not judged")]
    if Verdict.NOT_ENOUGH_EVIDENCE in report.counts:
        lines.append(
            "for more evidence, measure both again with more steps ([timing] in the profile)"
        )
    if Verdict.IMPROVED in report.counts:
        lines.append("to keep what improved, make this run the baseline with --save")
    return lines


def not_compared(report: Report) -> list[str]:
    """Return what could not be compared, a line for each reason, however many cases there are."""
    return _told_together(report, Verdict.NOT_COMPARABLE, "not compared")


def _told_together(report: Report, verdict: Verdict, said: str) -> list[str]:
    cases: dict[tuple[str, str], int] = {}
    for finding in report.findings:
        if finding.verdict is verdict:
            what = (wording.PROSE[finding.what], finding.reason or "")
            cases[what] = cases.get(what, 0) + 1
    return [
        f"{what} of {count} case{'' if count == 1 else 's'} {said}: {reason}"
        for (what, reason), count in cases.items()
    ]
