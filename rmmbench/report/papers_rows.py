"""Which of a profile's published rows says what a measured case says."""

from collections.abc import Collection
from typing import Final

from rmmbench.results.tidy import Row
from rmmbench.spec.profile import Profile
from rmmbench.spec.published import Published

PAPERS_CHOICE: Final = {
    "where": "all",
    "share": False,
    "block_rows": None,
    "include": None,
    "exclude": None,
}
"""Every linear layer, Q, K and V each with a sketch of its own, S of one piece."""

_IDENTITY = ("model", "task", "batch_size", "method", "sketch")


def matches(published: Published, row: Row, *, but: Collection[str] = ()) -> bool:
    """Return whether the published row is of this case, the columns `but` aside.

    A row that names no method is of the unchanged model without a ρ, and of rmm with one. One of
    rmm is of the paper's own choice of layers. What else a row leaves out holds for any case.
    """
    method = published.method or ("exact" if published.rho is None else "rmm")
    if row["method"] != method or row["rho"] != published.rho:
        return False
    if method == "rmm" and any(row[name] != value for name, value in PAPERS_CHOICE.items()):
        return False
    given = {name: getattr(published, name) for name in _IDENTITY if name not in but}
    return all(value is None or value == row[name] for name, value in given.items())


def find(profile: Profile, row: Row, field: str) -> float | None:
    """Return the number that is published as `field` for this case, None if there is none."""
    for published in profile.published:
        value: float | None = getattr(published, field)
        if value is not None and matches(published, row):
            return value
    return None


def saving(profile: Profile, row: Row) -> float | None:
    """Return the published fraction of peak memory saved, as printed or else from the peaks."""
    percent = find(profile, row, "saved_percent")
    if percent is not None:
        return percent / 100
    ratio = _relative(profile, row, "peak_gib")
    return None if ratio is None or row["method"] == "exact" else 1 - ratio


def relative_time(profile: Profile, row: Row) -> float | None:
    """Return the published time of this case ÷ that of the unchanged model."""
    return _relative(profile, row, "minutes")


def relative_throughput(profile: Profile, row: Row) -> float | None:
    """Return the published time of the unchanged model ÷ that of this case."""
    ratio = relative_time(profile, row)
    return 1 / ratio if ratio else None


def sources(profile: Profile) -> str:
    """Return where the published rows are from, each place once."""
    return "; ".join(dict.fromkeys(published.source for published in profile.published))


def _relative(profile: Profile, row: Row, field: str) -> float | None:
    value = find(profile, row, field)
    exact = find(profile, dict(row) | {"method": "exact", "rho": None, "sketch": None}, field)
    return value / exact if value is not None and exact else None
