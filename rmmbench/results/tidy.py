"""Cases as plain rows: what tables and figures read. A number that is missing is None."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rmmbench.results.counts import COUNTS
from rmmbench.results.reading import uncollected
from rmmbench.results.record import Record
from rmmbench.spec.case import STEP
from rmmbench.spec.known_settings import known

Row = Mapping[str, Any]

CELL = (
    *("model", "task", "batch_size", "seq_len", "dtype", "optimizer", "attention"),
    *(*STEP, "gpu", "seed"),
)
# All of a cell but its batch size.
PLACE = tuple(name for name in CELL if name != "batch_size")


def setting_columns() -> tuple[str, ...]:
    """Return the columns of what the exact case of a cell leaves out: the method, its settings."""
    return ("method", *known())


def kind_columns() -> tuple[str, ...]:
    """Return those of them that do not say how much is kept of a sketch."""
    return tuple(name for name in setting_columns() if name not in ("rho", "proj_dim"))


@uncollected()
def read_rows(records: Iterable[Record]) -> list[Row]:
    """Return a row a case, with what only a look at its cell can tell.

    Adds to `Record.row`: `saving`, the fraction of exact's peak_allocated_bytes in the same cell
    that is saved, and `saved_bytes_saving`, the same of saved_bytes; and each of the counts ÷
    exact's, `relative_flops`, `relative_moved_bytes` and `relative_operator_calls`. Of a
    case that was measured again the last record counts. CELL and `setting_columns` tell any two of
    one run apart.
    """
    by_key: dict[str, dict[str, Any]] = {}
    for record in records:
        by_key[record.key] = record.row()
    exact: dict[str, Row] = {}
    for row in by_key.values():
        if row["method"] == "exact":
            exact.setdefault(row["cell"], row)
    for row in by_key.values():
        reference = exact.get(row["cell"], {})
        row["saving"] = _saving(row, reference, "peak_allocated_bytes")
        row["saved_bytes_saving"] = _saving(row, reference, "saved_bytes")
        for name in COUNTS:
            row[f"relative_{name}"] = _ratio(row, reference, name)
    return list(by_key.values())


def _saving(row: Row, reference: Row, name: str) -> float | None:
    ratio = _ratio(row, reference, name)
    return None if ratio is None else 1 - ratio


def _ratio(row: Row, reference: Row, name: str) -> float | None:
    value, of = row[name], reference.get(name)
    return None if value is None or not of else value / of


def kept(row: Row) -> tuple[float, int]:
    """Return what orders cases by how much is kept: ρ, else proj_dim; (0, 0) has neither."""
    return (row["rho"] or 0, row["proj_dim"] or 0)


def group(rows: Iterable[Row], columns: Sequence[str]) -> list[list[Row]]:
    """Return the rows grouped by their values in `columns`, groups in order of first row."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple([row[name] for name in columns]), []).append(row)
    return list(groups.values())


def telling(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return the first few of `columns` that tell apart all rows that differ in any of them."""
    told: list[str] = []
    for name in columns:
        if _count(rows, [*told, name]) > _count(rows, told):
            told.append(name)
    return told


def telling_places(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return what `telling` does, and all else of what a step is in which the rows differ.

    That mostly keeps its default, and is missed where it does not.
    """
    told = telling(rows, columns)
    more = [name for name in STEP if name in columns and name not in told]
    return told + [name for name in more if _count(rows, [name]) > 1]


def differing(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return all of `columns` in which two of the rows differ that are of one method.

    More than `telling` does: a name that leaves out a setting would credit another with its effect.
    """
    methods = group(rows, ["method"])
    return [
        name
        for name in columns
        if (name == "method" and len(methods) > 1)
        or any(_count(alike, [name]) > 1 for alike in methods)
    ]


def _count(rows: Iterable[Row], columns: Sequence[str]) -> int:
    """Return how many groups there are by the values in `columns`."""
    if len(columns) == 1:
        name = columns[0]
        return len({row[name] for row in rows})
    return len({tuple([row[name] for name in columns]) for row in rows})


def interval(row: Row, name: str = "relative_throughput") -> tuple[float, float]:
    """Return the ends of a ratio's 95 % interval, both the ratio itself where there is none."""
    ratio = float(row[name])
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return (ratio, ratio) if low is None or high is None else (low, high)


def shared(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return those of `columns` in which every row has the same value, and has one."""
    first = rows[0] if rows else {}
    return [
        name
        for name in columns
        if first.get(name) is not None and all(row[name] == first[name] for row in rows)
    ]
