"""The report as GitHub's workflow commands, which it shows as annotations."""

from pathlib import Path

from rmmbench.report.check import markdown, overview, wording
from rmmbench.report.check.report import FAILING, Finding, Report, Verdict


def write(report: Report) -> str:
    """Return a line for each finding that fails the check or nearly does, the gravest first.

    What could not be compared, and where nothing seems to have changed but could not be told, has a
    line for each reason.
    """
    told = FAILING | {Verdict.NOT_ENOUGH_EVIDENCE}
    lines = [
        _command("error" if report.fails(finding.verdict) else "warning", finding)
        for finding in report.findings
        if finding.verdict in told and finding.is_remarkable
    ]
    grouped = [
        ("error", Verdict.NOT_COMPARABLE, overview.not_compared(report)),
        (
            "error" if report.strict else "warning",
            Verdict.NOT_ENOUGH_EVIDENCE,
            overview.cannot_tell(report),
        ),
    ]
    lines += [
        f"::{level} title=rmmbench check - {verdict}::{_escaped(text)}"
        for level, verdict, texts in grouped
        for text in texts
    ]
    lines += [f"::warning title=rmmbench check::{_escaped(text)}" for text in report.warnings]
    return "".join(f"{line}\n" for line in lines)


def add_summary(report: Report, path: Path) -> None:
    """Add the report to the end of a step's summary, whose `path` is in $GITHUB_STEP_SUMMARY."""
    with path.open("a", encoding="utf-8") as file:
        file.write(markdown.write(report) + "\n")


def _command(level: str, finding: Finding) -> str:
    return f"::{level} title=rmmbench check - {finding.verdict}::{_escaped(wording.line(finding))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
