"""The report in Markdown."""

import re

from rmmbench.report.check import overview, wording
from rmmbench.report.check.report import Report


def write(report: Report) -> str:
    """Return a heading with the outcome, the counts, and a table of what changed."""
    outcome = "failed" if report.exit_code else "passed"
    lines = [f"### rmmbench check {outcome}", "", escaped(overview.summary(report))]
    lines += ["", escaped(f"{report.run} against {report.baseline}")]
    found = overview.rows(report)
    if found:
        lines += ["", _row(wording.COLUMNS), "| --- | --- | ---: | ---: | ---: | ---: | --- |"]
        lines += [_row(wording.cells(finding)) for findings in found for finding in findings]
    remarks = overview.remarks(report)
    if remarks:
        lines += ["", *(f"- {escaped(remark)}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"


def escaped(text: str) -> str:
    """Return `text` such that nothing in it is taken for a column, a tag or a mark."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKS.sub(r"\\\g<0>", text)


# An underscore inside a word is none.
_MARKS = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
