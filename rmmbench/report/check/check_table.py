"""The tables of a check's findings."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rmmbench.report.check import overview, wording
from rmmbench.report.check.report import FAILING, Finding, Report, Verdict
from rmmbench.report.tables.table import Column, Table, Tone, build
from rmmbench.spec.case import Case


def _column(
    name: str, text: Callable[[Finding], str], *, is_number: bool = True
) -> Column[Finding]:
    return Column(
        name, name, lambda finding: getattr(finding, name), text=text, is_number=is_number
    )


COLUMNS = (
    _column("case", lambda finding: wording.name(finding.case), is_number=False),
    _column("what", lambda finding: wording.PROSE[finding.what], is_number=False),
    _column("baseline", lambda finding: wording.shown(finding.what, finding.baseline)),
    _column("now", lambda finding: wording.shown(finding.what, finding.now)),
    _column("change", wording.signed),
    _column("limit", wording.limit),
    _column("verdict", wording.verdict, is_number=False),
)


def check_table(report: Report) -> Table:
    """Return a row per remarkable finding, the gravest case first."""
    found = [finding for findings in overview.rows(report) for finding in findings]
    return build(found, COLUMNS, tone=_tone, toned="verdict")


def table_by_case(report: Report, *, every: bool = False) -> Table:
    """Return the same table with each case's name, which is long, on a line above its findings."""
    lines: list[Case | Finding] = []
    for findings in overview.rows(report, every=every):
        lines += [findings[0].case, *findings]

    def below(column: Column[Any]) -> Column[Any]:
        def text(line: Case | Finding) -> str:
            return "" if isinstance(line, Case) else column.cell(line)

        return replace(column, value=lambda line: None, text=text)

    def name(line: Case | Finding) -> str:
        if isinstance(line, Case):
            return wording.name(line)
        return f"  {wording.PROSE[line.what]}"

    columns = [Column("", "case", text=name, is_number=False), *map(below, COLUMNS[2:])]
    return build(lines, columns, tone=_tone, toned="verdict")


def _tone(line: Case | Finding) -> Tone:
    if isinstance(line, Case):
        return ""
    if line.verdict in FAILING or line.verdict is Verdict.NOT_COMPARABLE:
        return "failed"
    tones: dict[Verdict, Tone] = {
        Verdict.NOT_ENOUGH_EVIDENCE: "doubtful",
        Verdict.IMPROVED: "good",
    }
    return tones.get(line.verdict, "faint")
