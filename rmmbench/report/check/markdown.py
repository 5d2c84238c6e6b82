"""The report in Markdown."""

from rmmbench.report.check import overview
from rmmbench.report.check.check_table import check_table
from rmmbench.report.check.report import Report
from rmmbench.report.tables import writers
from rmmbench.report.tables.writers import escaped


def write(report: Report) -> str:
    """Return a heading with the outcome, the counts, and a table of what changed."""
    outcome = "failed" if report.exit_code else "passed"
    lines = [f"### rmmbench check {outcome}", "", escaped(overview.summary(report))]
    lines += ["", escaped(f"{report.run} against {report.baseline}")]
    table, remarks = check_table(report), overview.remarks(report)
    if len(table):
        lines += ["", writers.markdown([table]).rstrip()]
    if remarks:
        lines += ["", *(f"- {escaped(remark)}" for remark in remarks)]
    return "\n".join(lines) + "\n"
