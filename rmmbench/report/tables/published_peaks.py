"""Columns of peaks that others measured, beside the same figure here, and by how much it is off."""

from rmmbench.report import papers_rows
from rmmbench.report.tables.table import Column
from rmmbench.results.tidy import Row
from rmmbench.spec.profile import Profile
from rmmbench.units import Unit


def published_peaks(profile: Profile, unit: Unit) -> list[Column[Row]]:
    """Return the columns: what the figure is of, the published one, the one here, its error."""

    def of(row: Row) -> str | None:
        found = papers_rows.peak(profile, row)
        return found and found[0].peak_of

    def published(row: Row) -> int | None:
        found = papers_rows.peak(profile, row)
        return found and found[0].peak_bytes

    def here(row: Row) -> int | None:
        found = papers_rows.peak(profile, row)
        return found and found[1]

    def error(row: Row) -> float | None:
        there = published(row)
        return there and (here(row) or 0) / there - 1

    return [
        Column("published_of", "published\nfigure", of, is_number=False),
        Column("published_bytes", f"published\n{unit.name}", published, unit.write),
        Column("beside_published_bytes", f"here\n{unit.name}", here, unit.write),
        Column("published_error", "error", error, lambda off: f"{100 * off:+.2f} %"),
    ]
