"""The report as a table for the terminal."""

import io

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from rmmbench.report.check import overview, wording
from rmmbench.report.check.report import FAILING, Finding, Report, Verdict

WIDTH = 120


def render(report: Report, *, every: bool = False) -> RenderableType:
    """Return the table of what changed (of `every` case if asked), the remarks and the counts."""
    found = overview.rows(report, every=every)
    parts: list[RenderableType] = [_table(found), ""] if found else []
    parts += [Text(remark) for remark in overview.remarks(report)]
    style = "bold red" if report.exit_code else "bold"
    return Group(*parts, Text(overview.summary(report), style=style))


def write(report: Report) -> str:
    """Return the report as plain text."""
    text = io.StringIO()
    Console(file=text, width=WIDTH, no_color=True).print(render(report))
    return text.getvalue()


def _table(cases: list[tuple[Finding, ...]]) -> Table:
    """Return a line for each case, with its findings under it."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    first, _, *numbers, last = wording.COLUMNS
    table.add_column(first, overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column(last)
    for findings in cases:
        table.add_row(Text(wording.name(findings[0].case)))
        for finding in findings:
            _, what, *values, verdict = wording.cells(finding)
            cells = [Text(cell) for cell in (f"  {what}", *values)]
            table.add_row(*cells, Text(verdict, style=_style(finding.verdict)))
    return table


def _style(verdict: Verdict) -> str:
    if verdict in FAILING or verdict is Verdict.NOT_COMPARABLE:
        return "bold red"
    colours = {Verdict.NOT_ENOUGH_EVIDENCE: "yellow", Verdict.IMPROVED: "green"}
    return colours.get(verdict, "dim")
