"""A history for other programs: rows of a frame, and plain data."""

from collections.abc import Iterator
from typing import Any

from rmmbench.report.history import followed
from rmmbench.report.history.series import Series, confidence
from rmmbench.report.history.snapshots import Commit


def point_rows(series: Series) -> Iterator[dict[str, Any]]:
    """Yield a row per point: its series, its commit, its value, and whether it moved there."""
    moves = {move.index: move for move in series.moves}
    about: dict[str, Any] = {"key": series.key, "case": series.case.title, "what": series.what}
    about |= {"is_exact": series.is_exact}
    about |= {name: series.place.get(name) for name in followed.PLACE}
    for index, (point, level) in enumerate(zip(series.points, series.levels(), strict=True)):
        move = moves.get(index)
        yield about | {
            "commit": point.commit.code.partition(" ")[0],
            "name": point.commit.name,
            "moment": point.commit.moment,
            "value": point.value,
            "low": point.low,
            "high": point.high,
            "level": level,
            "moved": move is not None,
            "confidence": 1 - move.p_value if move else None,
            "is_worse": move.is_worse if move else None,
        }


def commit_data(commit: Commit) -> dict[str, str]:
    """Return a commit as plain data."""
    return {name: getattr(commit, name) for name in ("name", "moment", "title", "place")}


def series_data(series: Series) -> dict[str, Any]:
    """Return a series as plain data, numbers in SI units."""
    return {
        "key": series.key,
        "case": series.case.flat(),
        "what": series.what,
        "place": dict(series.place),
        "is_exact": series.is_exact,
        "points": [
            {"commit": each.commit.name, "value": each.value, "low": each.low, "high": each.high}
            for each in series.points
        ],
        "moves": [
            {
                "commit": move.commit.name,
                "index": move.index,
                "before": move.before,
                "after": move.after,
                "confidence": 1 - move.p_value,
                "told": confidence(series, move),
                "is_worse": move.is_worse,
                "also_changed": list(move.also),
            }
            for move in series.moves
        ],
    }
