"""The tables of a history: what moved at which commit, and every number over its runs."""

import math
from collections.abc import Sequence
from typing import Final

from rmmbench.report.check import wording
from rmmbench.report.history.over_commits import History
from rmmbench.report.history.series import Move, Series, Value, confidence
from rmmbench.report.history.short_names import short_names
from rmmbench.report.tables.table import Column, Table, Tone, build, unseen
from rmmbench.units import format_count

BARS: Final = "▁▂▃▄▅▆▇█"
MOST_BARS: Final = 24
MOST_CASES: Final = 8

_Moved = tuple[Series, Move]


def moves_table(history: History) -> Table:
    """Return a row per move, in the order of commits; what else changed stands below.

    Of one number at one commit `MOST_CASES` cases have a row, those that moved most; the rest are
    counted below.
    """
    shown, more = _most_moved(history)
    names, shared = short_names(history.series)
    columns: list[Column[_Moved]] = [
        Column("commit", "commit", _commit, is_number=False, is_said_once=True),
        Column("moment", "", _moment, write=_day, is_number=False, is_said_once=True),
        unseen("key", lambda each: each[0].key),
        Column("label", "case", lambda each: names[each[0].key], is_number=False),
        unseen("number", lambda each: each[0].what),
        Column("", "number", text=lambda each: wording.PROSE[each[0].what], is_number=False),
        Column("before", "before", lambda each: each[1].before, text=_before),
        Column("after", "after", lambda each: each[1].after, text=_after),
        Column(
            "change", "change", _change, text=lambda each: wording.signed(each[0].finding(each[1]))
        ),
        Column(
            "confidence",
            "confidence",
            lambda each: 1 - each[1].p_value,
            text=lambda each: confidence(*each),
        ),
        unseen("is_worse", lambda each: each[1].is_worse),
        unseen("also_changed", lambda each: list(each[1].also)),
        unseen("place", lambda each: dict(each[0].place)),
    ]
    return build(
        shown,
        columns,
        tone=lambda each: "failed" if each[1].is_worse else "good",
        section=lambda each: each[1].commit.code,
        toned="change",
        lead=(f"{history.source}, {history.counted}", *([shared] if shared and shown else [])),
        notes=(*more, *_commits(history), *_also(history.moves), *history.notes),
    )


def series_table(history: History) -> Table:
    """Return a row per number of a case: its first and last value, and its course."""
    names, shared = short_names(history.series)
    columns: list[Column[Series]] = [
        unseen("key", lambda each: each.key),
        Column(
            "label",
            "case",
            lambda each: names[each.key],
            is_number=False,
            is_said_once=True,
        ),
        unseen("number", lambda each: each.what),
        Column("", "number", text=lambda each: wording.PROSE[each.what], is_number=False),
        Column("runs", "runs", lambda each: len(each.points)),
        Column(
            "first", "first", lambda each: each.points[0].value, text=lambda each: _shown(each, 0)
        ),
        Column(
            "last", "last", lambda each: each.points[-1].value, text=lambda each: _shown(each, -1)
        ),
        Column("", "over runs", text=_course, is_number=False),
        Column(
            "moves",
            "moved at",
            lambda each: [move.commit.name for move in each.moves],
            write=lambda names: ", ".join(names),
            is_number=False,
        ),
    ]
    ordered = sorted(history.series, key=lambda each: (each.key, each.points[0].commit.moment))
    lead = (shared,) if shared else ()
    return build(
        ordered, columns, tone=_tone, section=lambda each: each.key, toned="moves", lead=lead
    )


def _most_moved(history: History) -> tuple[list[_Moved], list[str]]:
    """Return the moves to show, in their order, and a line for each number with more cases."""
    alike: dict[tuple[str, str], list[_Moved]] = {}
    for each in history.moves:
        alike.setdefault((each[1].commit.name, each[0].what), []).append(each)
    left_out, lines = set[int](), []
    for (commit, what), cases in alike.items():
        ordered = sorted(cases, key=lambda each: -abs(_change(each) or math.inf))
        more = ordered[MOST_CASES:]
        if more:
            left_out |= set(map(id, more))
            ends = [wording.signed(each[0].finding(each[1])) for each in (more[0], more[-1])]
            by = " and ".join(dict.fromkeys(ends))
            count = format_count(len(more), "more case")
            lines.append(f"at {commit} {wording.PROSE[what]} of {count} moved, by {by}")
    return [each for each in history.moves if id(each) not in left_out], lines


def _tone(series: Series) -> Tone:
    if not series.moves:
        return "faint"
    return "failed" if series.moves[-1].is_worse else "good"


def _commit(each: _Moved) -> str:
    return each[1].commit.name


def _moment(each: _Moved) -> str:
    return each[1].commit.moment


def _day(moment: str) -> str:
    return moment[:10]


def _before(each: _Moved) -> str:
    return wording.shown(each[0].what, each[1].before)


def _after(each: _Moved) -> str:
    return wording.shown(each[0].what, each[1].after)


def _change(each: _Moved) -> float | None:
    return each[0].finding(each[1]).change


def _shown(series: Series, index: int) -> str:
    return wording.shown(series.what, series.points[index].value)


def _course(series: Series) -> str:
    """Return bars for the latest values, from the lowest to the highest: "▁▁▁█▇█"."""
    return bars([point.value for point in series.points])


def bars(values: Sequence[Value]) -> str:
    """Return a bar for each of the latest values; "✕" for an outcome that is not ok."""
    latest = values[-MOST_BARS:]
    numbers = [value for value in latest if not isinstance(value, str)]
    low, high = min(numbers, default=0.0), max(numbers, default=0.0)
    if not numbers:
        return "".join("▁" if value == "ok" else "✕" for value in latest)
    steps = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((float(value) - low) * steps)] for value in latest)


def _commits(history: History) -> list[str]:
    """Return a line for each commit at which something moved, with its title."""
    moved = {move.commit.code: move.commit for _, move in history.moves if move.commit.title}
    return [f"{commit.name}: {commit.title}" for commit in moved.values()]


def _also(moves: Sequence[_Moved]) -> list[str]:
    """Return a line for each commit at which the environment changed too."""
    found: dict[str, dict[str, None]] = {}
    for _, move in moves:
        if move.also:
            found.setdefault(move.commit.name, {}).update(dict.fromkeys(move.also))
    return [
        f"at {name} the environment changed too, which may be the cause: {', '.join(changes)}"
        for name, changes in found.items()
    ]
