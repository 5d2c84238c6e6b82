"""Ways of saving memory that were measured in one cell, and how they compare."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rmmbench.report.labels import has_exact_gradient, kind, rate
from rmmbench.results.tidy import Row, group, interval, setting_columns
from rmmbench.spec.known_settings import amounts, in_words, known, stack_name

EXACT, CHECKPOINT = "exact", "checkpoint"
WAY = ("method", "sketch")
DEVICES = {"predict": "predicted", "cpu": "measured on the CPU", "cuda": "measured on the GPU"}
"""How memory was found, by device."""
NO_MORE = 0.001
"""Peaks that differ by no more than this fraction count as equal: codes, keys and the like."""

# With it a name of two lines breaks only between methods or before the amounts.
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Cell:
    """Every case of one cell, whatever its outcome.

    Attributes:
        rows: One per case, of steps without a memory limit.
        names: Names for figures and tables, by case key.
    """

    rows: tuple[Row, ...]
    names: Mapping[str, str]

    @cached_property
    def sized(self) -> list[Row]:
        """The cases with a peak, exact first, then from the highest peak to the lowest."""
        rows = [row for row in self.rows if row["peak_allocated_bytes"] is not None]
        return sorted(rows, key=lambda row: (row["method"] != EXACT, -row["peak_allocated_bytes"]))

    @cached_property
    def timed(self) -> list[Row]:
        """The cases with a peak and a relative throughput; none if only exact has both."""
        rows = [row for row in self.sized if row["relative_throughput"] is not None]
        return rows if any(row["method"] != EXACT for row in rows) else []

    @property
    def exact(self) -> Row | None:
        """The unchanged model, if its peak is known."""
        return next((row for row in self.sized if row["method"] == EXACT), None)

    @property
    def compares(self) -> bool:
        """Whether the peaks of exact and of two or more other ways are known."""
        ways = group([row for row in self.sized if row["method"] != EXACT], WAY)
        return self.exact is not None and len(ways) > 1

    @cached_property
    def exact_best(self) -> list[Row]:
        """The cases with an exact gradient that no other such case beats, by rising peak.

        A case beats another if it is as good in memory and speed, and better in one of them. If it
        is better in speed, peaks within `NO_MORE` of each other count as equal.
        """
        return _unbeaten([row for row in reversed(self.timed) if has_exact_gradient(row)])

    @cached_property
    def best(self) -> list[Row]:
        """The same among all cases with a known gradient error, which is the third criterion."""
        return _unbeaten([row for row in reversed(self.timed) if _error(row) is not None])

    @cached_property
    def noisy(self) -> "Cell | None":
        """The timed cases whose gradient error is known and more than rounding, if two or more."""
        rows = [row for row in self.timed if (_error(row) or 0.0) > 0]
        return Cell(tuple(rows), self.names) if len(rows) > 1 else None

    @cached_property
    def line(self) -> tuple[Row, Row] | None:
        """The cases of checkpoint and exact, the ends of the usual trade of time for memory."""
        ends = {row["method"]: row for row in self.timed if row["method"] in (EXACT, CHECKPOINT)}
        if len(ends) < 2:
            return None
        low, high = ends[CHECKPOINT], ends[EXACT]
        return (low, high) if _place(low)[0] < _place(high)[0] else None

    def side(self, row: Row) -> str:
        """Return "above", "below" or "on": where a case lies relative to that line.

        It is "on" if the case's confidence interval includes the line. A case with a lower peak
        than both ends, or a higher one, is compared with the nearer end, and is "" if it is better
        than that end in one of memory and speed but worse in the other.
        """
        if self.line is None or row["relative_throughput"] is None or row in self.line:
            return ""
        if row["peak_allocated_bytes"] is None:
            return ""
        (low, low_ratio), (high, high_ratio) = map(_place, self.line)
        peak, ratio = _place(row)
        slope = (high_ratio - low_ratio) / (high - low)
        expected = low_ratio + slope * (min(max(peak, low), high) - low)
        low_end, high_end = interval(row)
        if low_end <= expected <= high_end:
            return "on"
        is_beyond = (peak < low and ratio < expected) or (peak > high and ratio > expected)
        return "" if is_beyond else "above" if ratio > expected else "below"


def read_cells(rows: Iterable[Row]) -> list[Cell]:
    """Return the cells of rows without a memory limit, those with most peaks first."""
    free = [row for row in rows if row["memory_limit_bytes"] is None]
    names = way_names(free)
    cells = [Cell(tuple(alike), names) for alike in group(free, ["cell"])]
    return sorted(cells, key=lambda cell: -len(cell.sized))


def way_names(rows: Sequence[Row]) -> dict[str, str]:
    """Return names by case key: the method, the settings that differ, and how much is kept."""
    names = {}
    for alike in group(rows, WAY):
        told = _told(alike)
        for row in alike:
            amounts = NO_BREAK.join(_amounts(row)).replace(" ", NO_BREAK)
            method = kind(row, told).replace(" + ", f" +{NO_BREAK}")
            names[row["key"]] = f"{method} {amounts}".strip()
    return names


def left_out(rows: Sequence[Row]) -> str:
    """Return a sentence on the settings that names leave out: "Settings …: oporp (unshared)."."""
    by_words: dict[str, list[str]] = {}
    for alike in group([row for row in rows if row["method"] != EXACT], WAY):
        row, told = alike[0], _told(alike)
        untold = {*setting_columns()} - {
            *told,
            *amounts(),
            *(["min_proj_dim"] * (row["min_proj_dim"] == 1)),
        }
        name = stack_name(row)
        words = kind(row, untold).removeprefix(name).strip(", ")
        if words:
            by_words.setdefault(words, []).append(name)
    said = [f"{', '.join(names)} ({words})" for words, names in by_words.items()]
    return f"Settings that the names leave out: {'; '.join(said)}." if said else ""


def _told(alike: Sequence[Row]) -> list[str]:
    return [
        name
        for name in setting_columns()
        if name not in amounts() and len(group(alike, [name])) > 1
    ]


def _amounts(row: Row) -> list[str]:
    said = [name for name in amounts() if known()[name].said.words and row[name] is not None]
    alone = known()[said[0]].said.alone if len(said) == 1 else ""
    words = [alone.format(row[said[0]])] if alone else in_words(row, said)
    return [*words, *filter(None, [rate(row)])]


def _place(row: Row) -> tuple[int, float]:
    return row["peak_allocated_bytes"], row["relative_throughput"]


def _error(row: Row) -> float | None:
    """Return a case's gradient error; 0 if it is only rounding."""
    return 0.0 if has_exact_gradient(row) else row["gradient_error"]


def _unbeaten(rows: Sequence[Row]) -> list[Row]:
    places = [(*_place(row), _error(row) or 0.0) for row in rows]
    return [
        row
        for row, place in zip(rows, places, strict=True)
        if not any(_beats(other, place) for other in places)
    ]


def _beats(one: tuple[int, float, float], other: tuple[int, float, float]) -> bool:
    (peak, ratio, error), (other_peak, other_ratio, other_error) = one, other
    if ratio < other_ratio or error > other_error:
        return False
    if ratio > other_ratio or error < other_error:
        return peak <= (1 + NO_MORE) * other_peak
    return peak < other_peak
