"""How numbers went from commit to commit, and where they moved."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rmmbench.errors import RunError
from rmmbench.report.figures._history_panels import draw_history
from rmmbench.report.history.over_commits import history
from rmmbench.report.history.series import Series
from rmmbench.report.page.html_table import HtmlTable, html_table
from rmmbench.report.page.missing_reasons import Reasons
from rmmbench.report.page.pictures import Picture, picture
from rmmbench.report.tables.history_table import moves_table
from rmmbench.results.store import Run


@dataclass(frozen=True)
class OverTime:
    """Every number by commit, and the table of those that moved, if any did."""

    picture: Picture
    moves: HtmlTable | None


def over_time(runs: Sequence[Run], name: str) -> OverTime | None:
    """Return what `rmmbench history` tells of some runs; None if nothing was measured twice.

    Args:
        runs: Whose records were read without an error.
        name: The figure's id.
    """
    try:
        found = history(runs)
    except RunError:
        # Records of a single commit are no history.
        return None
    found = replace(found, series=tuple(filter(_is_repeated, found.series)))
    if all(isinstance(each.points[0].value, str) for each in found.series):
        return None
    moves = moves_table(found)
    return OverTime(
        picture(draw_history(found), name, "each number by commit, ÷ that of its first run"),
        html_table(moves, Reasons(()), f"{name}-moves") if len(moves) else None,
    )


def _is_repeated(series: Series) -> bool:
    return len({point.commit.code for point in series.points}) > 1
