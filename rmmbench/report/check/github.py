"""The report as GitHub workflow commands, which GitHub shows as annotations."""

import os
from pathlib import Path
from typing import TextIO

from rmmbench.report.check import markdown, overview, wording
from rmmbench.report.check.report import FAILING, Report, Verdict


def write(report: Report) -> str:
    """Return a line for each finding that fails the check or nearly does, the gravest first.

    Findings without a comparison, or without evidence of a change, share a line for each reason.
    """
    told = FAILING | {Verdict.NOT_ENOUGH_EVIDENCE}
    said = [
        (finding.verdict, wording.line(finding))
        for finding in report.findings
        if finding.verdict in told and finding.is_remarkable
    ]
    said += [(Verdict.NOT_COMPARABLE, text) for text in overview.not_compared(report)]
    said += [(Verdict.NOT_ENOUGH_EVIDENCE, text) for text in overview.cannot_tell(report)]
    lines = [
        _command("error" if report.fails(verdict) else "warning", f" - {verdict}", text)
        for verdict, text in said
    ]
    lines += [_command("warning", "", text) for text in report.warnings]
    return "".join(lines)


def tell(report: Report, stream: TextIO) -> str | None:
    """Under GitHub Actions, annotate the commit through `stream` and add to the step's summary.

    Returns:
        Why the summary could not be written; None if it was.
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


def _command(level: str, title: str, text: str) -> str:
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{level} title=rmmbench check{title}::{escaped}\n"
