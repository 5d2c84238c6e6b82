"""Finds the published numbers that belong to a measured case."""

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
"""The paper's settings: every linear layer, separate sketches of Q, K and V, S in one piece."""

_IDENTITY = ("model", "task", "batch_size", "ranks", "optimizer", "method", "sketch")


def matches(published: Published, row: Row, *, but: Collection[str] = ()) -> bool:
    """Return whether a published row belongs to a case; the columns `but` may differ.

    A row without a method stands for the unchanged model if it has no ρ, else for rmm with the
    paper's choice of layers. Other fields that a row leaves out match any case.
    """
    method = published.method or ("exact" if published.rho is None else "rmm")
    if row["method"] != method or row["rho"] != published.rho:
        return False
    if method == "rmm" and any(row[name] != value for name, value in PAPERS_CHOICE.items()):
        return False
    given = {name: getattr(published, name) for name in _IDENTITY if name not in but}
    return all(value is None or value == row[name] for name, value in given.items())


def find(profile: Profile, row: Row, field: str) -> float | None:
    """Return the number published as `field` for this case; None if there is none."""
    for published in profile.published:
        value: float | None = getattr(published, field)
        if value is not None and matches(published, row):
            return value
    return None


def peak(profile: Profile, row: Row) -> tuple[Published, int] | None:
    """Return the row that publishes this case's peak in bytes, and here what it is a figure of.

    None if nobody does, or there is no such figure here.
    """
    for published in profile.published:
        if published.peak_bytes is not None and matches(published, row):
            kind = "peak_allocated" if published.peak_of == "allocated" else "reserved"
            found: int | None = row[f"{kind}_bytes"]
            return None if found is None else (published, found + (published.context_bytes or 0))
    return None


def saving(profile: Profile, row: Row) -> float | None:
    """Return the published fraction of peak memory saved, or compute it from published peaks."""
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
    """Return the sources of the published rows, each once."""
    return "; ".join(dict.fromkeys(published.source for published in profile.published))


def _relative(profile: Profile, row: Row, field: str) -> float | None:
    value = find(profile, row, field)
    exact = find(profile, dict(row) | {"method": "exact", "rho": None, "sketch": None}, field)
    return value / exact if value is not None and exact else None
