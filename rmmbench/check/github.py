"""The report as GitHub's workflow commands, which it shows as annotations."""

from pathlib import Path

from rmmbench.check import markdown, wording
from rmmbench.check.report import Finding, Report, Verdict


def write(report: Report) -> str:
    """Return a line for each finding that fails the check or nearly does, the gravest first."""
    lines = [
        _command("error" if report.fails(finding.verdict) else "warning", finding)
        for finding in report.findings
        if report.fails(finding.verdict) or finding.verdict is Verdict.NOT_ENOUGH_EVIDENCE
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
