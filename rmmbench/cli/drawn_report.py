"""What a check found, drawn for people."""

from rich.console import Group, RenderableType
from rich.text import Text

from rmmbench.cli.drawn import drawn
from rmmbench.report.check import overview
from rmmbench.report.check.check_table import table_by_case
from rmmbench.report.check.report import Report


def drawn_report(report: Report, width: int, *, every: bool = False) -> RenderableType:
    """Return the table of what changed (of `every` case if asked), the remarks and the counts."""
    table = table_by_case(report, every=every)
    parts: list[RenderableType] = [drawn([table], width), ""] if len(table) else []
    parts += [Text(remark) for remark in overview.remarks(report)]
    style = "bold red" if report.exit_code else "bold"
    return Group(*parts, Text(overview.summary(report), style=style))
