"""The report in Markdown."""

from rmmbench.report.check import overview, wording
from rmmbench.report.check.report import Report
from rmmbench.report.tables.writers import escaped, markdown_row


def write(report: Report) -> str:
    """Return a heading with the outcome, the counts, and a table of what changed."""
    outcome = "failed" if report.exit_code else "passed"
    lines = [f"### rmmbench check {outcome}", "", escaped(overview.summary(report))]
    lines += ["", escaped(f"{report.run} against {report.baseline}")]
    found = overview.rows(report)
    if found:
        lines += [
            "",
            markdown_row(wording.COLUMNS),
            "| --- | --- | ---: | ---: | ---: | ---: | --- |",
        ]
        lines += [
            markdown_row(wording.cells(finding)) for findings in found for finding in findings
        ]
    remarks = overview.remarks(report)
    if remarks:
        lines += ["", *(f"- {escaped(remark)}" for remark in remarks)]
    return "\n".join(lines) + "\n"
