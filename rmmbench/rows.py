"""Cases as plain rows: what tables and figures read. A number that is missing is None."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rmmbench.case import METHOD_SETTINGS
from rmmbench.record import Record
from rmmbench.store import frame

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

CELL = ("model", "task", "batch_size", "seq_len", "dtype", "optimizer", "attention", "seed")
SETTINGS = METHOD_SETTINGS
# All of a cell but its batch size, and all of the settings but how much is kept.
PLACE = tuple(name for name in CELL if name != "batch_size")
KIND = tuple(name for name in SETTINGS if name not in ("rho", "proj_dim"))


def read_rows(records: Iterable[Record]) -> list[Row]:
    """Return `store.frame`'s rows; what is in CELL and SETTINGS tells any two of one run apart."""
    table = frame(records)
    return [] if table.empty else list(plain_rows(table))


def plain_rows(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return a table's rows with None for what is missing."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def kept(row: Row) -> tuple[float, int]:
    """Return what orders cases by how much is kept: ρ, else proj_dim; (0, 0) has neither."""
    return (row["rho"] or 0, row["proj_dim"] or 0)


def group(rows: Iterable[Row], columns: Sequence[str]) -> list[list[Row]]:
    """Return the rows grouped by their values in `columns`, groups in order of first row."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in columns), []).append(row)
    return list(groups.values())


def telling(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return the first few of `columns` that tell apart all rows that differ in any of them."""
    told: list[str] = []
    for name in columns:
        if len(group(rows, [*told, name])) > len(group(rows, told)):
            told.append(name)
    return told


def differing(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return all of `columns` in which two of the rows differ that are of one method.

    More than `telling` does: a name that leaves out a setting would credit another with its effect.
    """
    methods = group(rows, ["method"])
    return [
        name
        for name in columns
        if (name == "method" and len(methods) > 1)
        or any(len(group(alike, [name])) > 1 for alike in methods)
    ]


def is_projection(row: Row) -> bool:
    """Return whether a sketch alone was timed, and `relative_throughput` is product ÷ sketch."""
    return str(row["model"]).partition(":")[0] == "projection"


def interval(row: Row) -> tuple[float, float]:
    """Return the ends of relative throughput's 95 % interval, both itself where there is none."""
    ratio = float(row["relative_throughput"])
    low, high = row["relative_throughput_low"], row["relative_throughput_high"]
    return (ratio, ratio) if low is None or high is None else (low, high)


def shared(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return those of `columns` in which every row has the same value, and has one."""
    first = rows[0] if rows else {}
    return [
        name
        for name in columns
        if first.get(name) is not None and all(row[name] == first[name] for row in rows)
    ]
