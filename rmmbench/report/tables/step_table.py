"""The table of single training steps: memory and throughput beside the paper's numbers."""

from collections.abc import Sequence
from dataclasses import replace

from rmmbench.report import papers_rows
from rmmbench.report.labels import CONTEXT, has_reserved, kind, place, provenance, shared_place
from rmmbench.report.tables import columns
from rmmbench.report.tables.columns import happened, per_second, percent
from rmmbench.report.tables.published_peaks import published_peaks
from rmmbench.report.tables.table import Column, Table, build, unseen
from rmmbench.results.record import Environment
from rmmbench.results.tidy import CELL, Row, kept, kind_columns, telling_places
from rmmbench.spec.profile import Profile
from rmmbench.units import GIB, byte_unit

WHERE = tuple(name for name in CELL if name not in ("batch_size", "seq_len"))


def step_table(
    rows: Sequence[Row], profile: Profile, environment: Environment, synthetic: str
) -> Table:
    """Return a row per case, in sections of one cell each."""
    rows = in_order(rows)
    notes = [shared_place(rows), provenance(rows, environment, synthetic)]
    notes += [CONTEXT] if has_reserved(rows) else []
    if profile.published:
        is_papers = any(row.peak_bytes is None for row in profile.published)
        whose = "The paper's numbers" if is_papers else "Published figures"
        notes.append(f"{whose}: {papers_rows.sources(profile)}.")
    return build(
        rows,
        [*names(rows), *_numbers(rows, profile), columns.node(rows), *columns.COUNTED],
        tone=columns.outcome_tone,
        section=lambda row: row["cell"],
        notes=tuple(filter(None, notes)),
    )


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Return the rows by place and size; in a cell exact first, then from most to least kept."""
    places: dict[str, int] = {}
    cells: dict[str, int] = {}
    kinds: dict[str, int] = {}
    told = kind_columns()

    def order(row: Row) -> tuple[object, ...]:
        where = places.setdefault(place(row, WHERE), len(places))
        cell = (where, row["batch_size"], row["seq_len"] or 0)
        found = cells.setdefault(row["cell"], len(cells))
        how = (
            kinds.setdefault(kind(row, told), len(kinds)),
            [-size for size in kept(row)],
        )
        return (*cell, found, row["method"] != "exact", *how)

    return sorted(rows, key=order)


def names(rows: Sequence[Row]) -> list[Column[Row]]:
    """Return the columns of what a row is of: for people where they differ, for programs all."""
    where = telling_places(rows, WHERE)
    has_lengths = any(row["seq_len"] for row in rows)

    def said_once(heading: str, names: Sequence[str]) -> Column[Row]:
        def text(row: Row) -> str:
            return place(row, names).removeprefix("batch ")

        return Column("", heading, text=text, is_number=False, is_said_once=True)

    return [
        *columns.CASE,
        said_once(where[0] if len(where) == 1 else "", where),
        said_once("batch×length" if has_lengths else "batch", ("batch_size", "seq_len")),
        *columns.names(rows),
    ]


def _numbers(rows: Sequence[Row], profile: Profile) -> list[Column[Row]]:
    has_papers = any(papers_rows.find(profile, row, "peak_gib") is not None for row in rows)
    highest = max((row["peak_allocated_bytes"] or 0 for row in rows), default=0)
    unit = byte_unit(GIB if has_papers else highest)
    is_papers_kind = all(row["method"] in ("exact", "rmm") for row in rows)
    is_compared = any(papers_rows.peak(profile, row) for row in rows)
    kept_bytes: Column[Row] = (
        unseen("saved_bytes") if is_papers_kind or is_compared else columns.kept(unit)
    )
    return [
        *columns.memory(unit, rows),
        Column(
            "papers_peak_gib",
            "paper's\nGiB",
            lambda row: papers_rows.find(profile, row, "peak_gib"),
            lambda peak: f"{peak:g}",
        ),
        columns.SAVED,
        Column(
            "papers_saving",
            "paper's\nsaved",
            lambda row: papers_rows.saving(profile, row),
            text=lambda row: (
                "" if row["method"] == "exact" else percent(papers_rows.saving(profile, row))
            ),
        ),
        *published_peaks(profile, unit),
        kept_bytes,
        replace(
            columns.RELATIVE_THROUGHPUT,
            text=lambda row: _ratio(row, "relative_throughput", "time_device"),
        ),
        columns.INTERVAL,
        Column(
            "product_ratio",
            "product ÷\nsketch",
            text=lambda row: _ratio(row, "product_ratio", "projection_device"),
        ),
        columns.PRODUCT_INTERVAL,
        columns.papers_relative(profile),
        columns.GRADIENT_ERROR,
        Column("samples_per_second", "samples/s", write=per_second),
        *columns.NOISE,
    ]


def _ratio(row: Row, name: str, device: str) -> str:
    if row[name] is not None:
        return f"{row[name]:.3f}"
    said_already = row["memory_device"] and row["peak_allocated_bytes"] is None
    return happened(row) if row[device] and not said_already else ""
