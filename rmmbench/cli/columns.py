"""The columns of the paper's Table 3 as text, published numbers beside measured ones, and more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rmmbench.report import published
from rmmbench.report.labels import EXACT, gradient_error, kind, place, throughput_interval
from rmmbench.results.tidy import CELL, kind_columns, Row, differing, is_projection, kept, telling
from rmmbench.spec.profile import Profile
from rmmbench.units import GIB, MIB, format_percent

WHERE = tuple(name for name in CELL if name not in ("batch_size", "seq_len"))


@dataclass(frozen=True)
class Column:
    """A column of text, one cell a case.

    Attributes:
        heading: Of one line or two.
        cells: "" where there is nothing to say.
        is_number: Whether cells are set to the right.
    """

    heading: str
    cells: tuple[str, ...]
    is_number: bool = True


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Return the rows by place and size; in a cell exact first, then from most to least kept."""
    places: dict[str, int] = {}
    kinds: dict[str, int] = {}

    def order(row: Row) -> tuple[object, ...]:
        where = places.setdefault(place(row, WHERE), len(places))
        cell = (where, row["batch_size"], row["seq_len"] or 0)
        how = (kinds.setdefault(kind(row, kind_columns()), len(kinds)), [-size for size in kept(row)])
        return (*cell, row["cell"], row["method"] != "exact", *how)

    return sorted(rows, key=order)


def columns(rows: Sequence[Row], profile: Profile) -> list[Column]:
    """Return the columns in which some cell says something, for rows that are `in_order`."""
    return [column for column in (*_names(rows), *_numbers(rows, profile)) if any(column.cells)]


def _names(rows: Sequence[Row]) -> list[Column]:
    where = telling(rows, WHERE)
    starts = [i == 0 or row["cell"] != rows[i - 1]["cell"] for i, row in enumerate(rows)]

    def once(text: Callable[[Row], str]) -> tuple[str, ...]:
        return tuple(text(row) if is_new else "" for row, is_new in zip(rows, starts, strict=True))

    has_lengths = any(row["seq_len"] for row in rows)
    return [
        Column(where[0] if len(where) == 1 else "", once(lambda row: place(row, where)), False),
        Column("batch×length" if has_lengths else "batch", once(_shape), False),
        Column("sketch" if _has_paper_only(rows) else "method", _kinds(rows), False),
        Column("ρ", tuple(f"{row['rho']:g}" if row["rho"] else "" for row in rows)),
        Column("proj_dim", tuple(str(row["proj_dim"] or "") for row in rows)),
    ]


def _numbers(rows: Sequence[Row], profile: Profile) -> list[Column]:
    papers = [published.find(profile, row, "peak_gib") for row in rows]
    highest = max((row["peak_allocated_bytes"] or 0 for row in rows), default=0)
    is_paper = _has_paper_only(rows)
    is_small = highest < GIB and not any(papers)
    unit, size, digits = ("MiB", MIB, 1) if is_small else ("GiB", GIB, 2)

    def column(heading: str, text: Callable[[Row], str]) -> Column:
        return Column(heading, tuple(text(row) for row in rows))

    return [
        column(f"peak\n{unit}", lambda row: _peak(row, size, digits)),
        Column("paper's\nGiB", tuple("" if paper is None else f"{paper:g}" for paper in papers)),
        column("saved", lambda row: _saved(row, row["saving"])),
        column("paper's\nsaved", lambda row: _saved(row, published.saving(profile, row))),
        column(f"kept\n{unit}", lambda row: "" if is_paper else _kept(row, size, digits)),
        column("relative\nthroughput", lambda row: "" if is_projection(row) else _ratio(row)),
        column("95 %\ninterval", throughput_interval),
        column("product ÷\nsketch", lambda row: _ratio(row) if is_projection(row) else ""),
        column("paper's\nrelative", lambda row: _relative(profile, row)),
        column("gradient\nerror", gradient_error),
        column("samples/s", lambda row: _per_second(row["samples_per_second"])),
    ]


def _shape(row: Row) -> str:
    return place(row, ("batch_size", "seq_len")).removeprefix("batch ")


def _has_paper_only(rows: Sequence[Row]) -> bool:
    return all(row["method"] in ("exact", "rmm") for row in rows)


def _kinds(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return how each case saves memory; exact by the paper's name where all is the paper's."""
    exact = EXACT if _has_paper_only(rows) else "exact"
    how = differing([row for row in rows if row["method"] != "exact"], kind_columns())
    return tuple(exact if row["method"] == "exact" else kind(row, how) for row in rows)


def _peak(row: Row, size: int, digits: int) -> str:
    if row["peak_allocated_bytes"] is not None:
        return f"{row['peak_allocated_bytes'] / size:.{digits}f}"
    return _outcome(row) if row["memory_device"] else ""


def _kept(row: Row, size: int, digits: int) -> str:
    return "" if row["saved_bytes"] is None else f"{row['saved_bytes'] / size:.{digits}f}"


def _ratio(row: Row) -> str:
    if row["relative_throughput"] is not None:
        return f"{row['relative_throughput']:.3f}"
    said_already = row["memory_device"] and row["peak_allocated_bytes"] is None
    return _outcome(row) if row["time_device"] and not said_already else ""


def _outcome(row: Row) -> str:
    return "" if row["outcome"] == "ok" else str(row["outcome"]).replace("_", " ")


def _saved(row: Row, saving: float | None) -> str:
    return "" if saving is None or row["method"] == "exact" else format_percent(saving)


def _relative(profile: Profile, row: Row) -> str:
    ratio = published.relative_throughput(profile, row)
    return "" if ratio is None else f"{ratio:.3f}"


def _per_second(value: float | None) -> str:
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"
