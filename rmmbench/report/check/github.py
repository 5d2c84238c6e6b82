"""The report as GitHub's workflow commands, which it shows as annotations."""

import os
from pathlib import Path
from typing import TextIO

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


def tell(report: Report, stream: TextIO) -> str | None:
    """Annotate the commit and add to the step's summary, where this runs under GitHub Actions.

    Args:
        report: What is told.
        stream: Takes the annotations.

    Returns:
        Why the summary could not be written, if it could not.
    """
    if os.environ.get("GITHUB_ACTIONS"):
        stream.write(write(report))
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return None
    try:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(markdown.write(report) + "\n")
    except OSError as error:
        return f"the step summary {summary} cannot be written: {error.strerror}"
    return None


def _command(level: str, finding: Finding) -> str:
    return f"::{level} title=rmmbench check - {finding.verdict}::{_escaped(wording.line(finding))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
