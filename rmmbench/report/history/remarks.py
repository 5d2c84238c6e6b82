"""What has to be said of a history beside its moves."""

from collections.abc import Iterable

from rmmbench.report.check import wording
from rmmbench.report.history import followed
from rmmbench.report.history.change_points import FEWEST
from rmmbench.report.history.series import Series
from rmmbench.report.history.snapshots import Commit
from rmmbench.units import format_count


def begun_anew(series: Iterable[Series]) -> list[str]:
    """Return a line for each property in which series differ that would else be one."""
    values: dict[str, dict[str, Commit]] = {}
    by_number: dict[tuple[str, str], list[Series]] = {}
    for each in series:
        by_number.setdefault((each.key, each.what), []).append(each)
    for alike in by_number.values():
        for name in followed.PLACE:
            found = {
                each.place[name]: each.points[0].commit for each in alike if name in each.place
            }
            if len(found) > 1:
                values.setdefault(name, {}).update(found)
    return [
        f"{name} differs, and a new series begins with each: "
        f"{', '.join(f'{value} from {commit.name}' for value, commit in found.items())}; "
        f"join them with --allow {name}"
        for name, found in values.items()
    ]


def too_few(series: Iterable[Series]) -> list[str]:
    """Return a line on noisy numbers of too few runs to tell a move from noise."""
    noisy = [each for each in series if not each.is_exact]
    few = [each for each in noisy if len(each.points) < FEWEST]
    if not few:
        return []
    names = ", ".join(dict.fromkeys(wording.PROSE[each.what] for each in few))
    took = f"it takes {FEWEST} runs on one machine to tell a move from noise"
    return [f"not judged: {names} ({format_count(len(few), 'number')}), for {took}"]
