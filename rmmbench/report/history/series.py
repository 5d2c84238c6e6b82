"""One number of one case over commits, and where it moved."""

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from rmmbench.report.check.directions import is_worse
from rmmbench.report.check.report import Finding, Verdict
from rmmbench.report.history import followed
from rmmbench.report.history.change_points import ChangePoint, Sample, change_points
from rmmbench.report.history.snapshots import Commit, Snapshot
from rmmbench.results.paired import CONFIDENCE
from rmmbench.results.record import Record
from rmmbench.results.store import RunInfo
from rmmbench.results.tidy import Row
from rmmbench.spec.case import Case

Value = float | str

_IN_ERRORS: Final = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_TINY: Final = 0.0005  # a change that a percentage with one digit would call 0.0 %


@dataclass(frozen=True)
class Point:
    """A number of one run.

    Attributes:
        low, high: Its 95 % interval from within the run; None if there is none.
    """

    commit: Commit
    value: Value
    low: float | None
    high: float | None
    record: Record


@dataclass(frozen=True)
class Move:
    """A change of a number from one run to the next.

    Attributes:
        index: The first point after it.
        commit: That point's: the first at which the number had moved.
        before, after: The number on both sides: of noisy ones the mean up to the next move.
        p_value: How often unchanged numbers would show as much; 0 of exact ones.
        also: What of the environment changed at the same point.
    """

    index: int
    commit: Commit
    before: Value
    after: Value
    p_value: float
    is_worse: bool
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """The values of one number of one case, oldest first.

    Attributes:
        what: The number, of `followed.NUMBERS`.
        place: What all points share: the version of torch, the profile, the machine.
        is_exact: Whether the same code gives the same number, so that any difference is a move.
    """

    key: str
    case: Case
    what: str
    place: Mapping[str, str]
    is_exact: bool
    points: tuple[Point, ...]
    moves: tuple[Move, ...] = ()

    def levels(self) -> list[Value]:
        """Return for each point the number that holds there: of exact ones the value itself."""
        if self.is_exact:
            return [point.value for point in self.points]
        parts = _parts(self.points, [move.index for move in self.moves])
        return [level for part in parts for level in [_level(part)] * len(part)]

    def finding(self, move: Move) -> Finding:
        """Return a move in the words of `rmmbench check`."""
        verdict = Verdict.REGRESSED if move.is_worse else Verdict.IMPROVED
        where = f"{confidence(self, move)}, at {move.commit.name}"
        found = Finding(self.case, self.what, verdict, move.before, move.after, reason=where)
        is_tiny = found.change is not None and abs(found.change) < _TINY
        # Without a tolerance, bytes are told as bytes.
        return found if is_tiny else replace(found, tolerance=0.0)


def confidence(series: Series, move: Move) -> str:
    """Return how sure it is that a number moved: "exact", "99.7 %", "over 99.9 %"."""
    if series.is_exact:
        return "exact"
    share = 100 * (1 - move.p_value)
    return "over 99.9 %" if share > 99.9 else f"{math.floor(10 * share) / 10:.1f} %"


def collect(
    snapshots: Iterable[Snapshot], numbers: Collection[str], allow: Collection[str]
) -> list[Series]:
    """Return the series of all numbers, not yet looked at for moves.

    A number that was measured elsewhere, with another torch or for another profile is in a series
    of its own, except for what is in `allow`. A measurement that is told twice counts once.
    """
    profiles, seen = _Profiles(), set[object]()
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Point]] = {}
    for snapshot in snapshots:
        profile = profiles.name(snapshot.info)
        for record in snapshot.records:
            row: Row = record.row()
            for name in numbers:
                value = followed.value_of(name, record, row)
                if value is None:
                    continue
                place = followed.place_of(name, record, profile)
                kept = tuple((key, told) for key, told in place.items() if key not in allow)
                low, high = (row.get(f"{name}_{end}") for end in ("low", "high"))
                own = (record.key, name, kept)
                points = found.setdefault(own, [])
                measurement = (own, followed.measurement(name, record))
                if followed.is_exact(name, record) or measurement not in seen:
                    points.append(Point(snapshot.commit, value, low, high, record))
                seen.add(measurement)
    return [
        Series(key, points[-1].record.case, name, dict(kept), _exact(name, points), (*points,))
        for (key, name, kept), points in found.items()
    ]


def judged(series: Sequence[Series]) -> list[Series]:
    """Return the series with their moves: of all noisy ones together."""
    noisy = [each for each in series if not each.is_exact]
    found = iter(change_points([_sample(each) for each in noisy]))
    return [_moved(each, None if each.is_exact else next(found)) for each in series]


def _moved(series: Series, found: Sequence[ChangePoint] | None) -> Series:
    """Return a series with its moves: those found in noise, or wherever an exact number differs."""
    points = series.points
    if found is None:
        found = [
            ChangePoint(index, 0.0)
            for index, (old, new) in enumerate(pairwise(points), start=1)
            if old.value != new.value
        ]
    parts = _parts(points, [point.index for point in found])
    moves = [_move(series, *each) for each in zip(found, parts, parts[1:], strict=False)]
    return replace(series, moves=tuple(moves))


def _move(
    series: Series, found: ChangePoint, before: Sequence[Point], after: Sequence[Point]
) -> Move:
    last, first = before[-1], after[0]
    was, now = (last.value, first.value) if series.is_exact else (_level(before), _level(after))
    training = last.record.training if series.what == "score" else None
    higher = training.higher_is_better if training else None
    worse = is_worse(series.what, was, now, higher_is_better=higher)
    also = followed.also_changed(series.what, last.record, first.record)
    return Move(found.index, first.commit, was, now, found.p_value, worse, also)


def _parts(points: Sequence[Point], starts: Iterable[int]) -> list[Sequence[Point]]:
    """Return the points between moves, of which each begins a part."""
    return [points[start:stop] for start, stop in pairwise([0, *starts, len(points)])]


def _level(points: Sequence[Point]) -> float:
    """Return the mean of noisy numbers, in the scale in which their noise is even."""
    values = [float(point.value) for point in points]
    if min(values) > 0:
        return statistics.geometric_mean(values)
    return statistics.fmean(values)


def _sample(series: Series) -> Sample:
    values = [float(point.value) for point in series.points]
    is_log = min(values) > 0
    errors = [
        (math.log(point.high) - math.log(point.low)) / 2 / _IN_ERRORS
        if is_log and point.low and point.high
        else 0.0
        for point in series.points
    ]
    scaled = [math.log(value) for value in values] if is_log else values
    return Sample(scaled, errors, [point.commit.code for point in series.points])


def _exact(name: str, points: Iterable[Point]) -> bool:
    return all(followed.is_exact(name, point.record) for point in points)


class _Profiles:
    """Names profiles, so that those of the same cases have one name."""

    def __init__(self) -> None:
        self._seen: list[tuple[RunInfo, str]] = []

    def name(self, info: RunInfo) -> str:
        for seen, name in self._seen:
            if seen.measures_as(info):
                return name
        name = f"'{info.profile_name}' ({info.profile_hash})"
        self._seen.append((info, name))
        return name
