"""The largest batch of each method as columns of text, and as data."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from rmmbench.cli.columns import WHERE, Column
from rmmbench.report.labels import place, setting
from rmmbench.results.record import Record
from rmmbench.results.tidy import kind_columns, Row, differing, telling
from rmmbench.running.largest_batch import Line
from rmmbench.spec.case import CHOICES, Case
from rmmbench.units import GIB, MIB


def columns(lines: Sequence[Line]) -> list[Column]:
    """Return the columns in which some cell says something, a cell a line."""
    limit = max(line.case.memory_limit_bytes or 0 for line in lines)
    unit, size, digits = ("MiB", MIB, 1) if limit < GIB else ("GiB", GIB, 2)

    def column(heading: str, text: Callable[[Line], str]) -> Column:
        return Column(heading, tuple(text(line) for line in lines))

    def peak(line: Line, batch: int | None) -> str:
        n_bytes = line.peak_bytes(batch)
        return "" if n_bytes is None else f"{n_bytes / size:.{digits}f}"

    found = [
        *_names(lines),
        column("largest\nbatch", _largest),
        column(f"its peak\n{unit}", lambda line: peak(line, line.fits)),
        column("too\nlarge", lambda line: str(line.fails or "")),
        column(f"its peak\n{unit}", lambda line: peak(line, line.fails)),
        column("times\nexact's", lambda line: _ratio(times_exact(line, lines))),
        column("samples/s", _per_second),
        column("probes", lambda line: str(len(line.known))),
    ]
    return [each for each in found if any(each.cells)]


def data(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return what the columns say, one entry a line; None where nothing is known."""
    return [
        {
            "label": line.case.label,
            "case": line.case.model_dump(mode="json", exclude={"batch_size"}),
            "outcome": line.trouble.outcome if line.trouble else "ok",
            "reason": line.trouble.reason if line.trouble else None,
            "largest_batch_size": line.fits or None,
            "largest_peak_bytes": line.peak_bytes(line.fits),
            "too_large_batch_size": line.fails,
            "too_large_peak_bytes": line.peak_bytes(line.fails),
            "times_exact": times_exact(line, lines),
            "samples_per_second": _throughput(line.timed),
            "probes": len(line.known),
        }
        for line in lines
    ]


def times_exact(line: Line, lines: Sequence[Line]) -> float | None:
    """Return a line's largest batch ÷ exact's in the same place; None if one is not known."""
    cell = line.case.cell
    exact = next(
        (each for each in lines if each.case.method == "exact" and each.case.cell == cell), None
    )
    if exact is None or any(each.trouble or not each.fits for each in (line, exact)):
        return None
    return line.fits / exact.fits


def per_second(samples: float) -> str:
    """Return a throughput as it is printed: "5,273" or "12.3"."""
    return f"{samples:,.0f}" if samples >= 1000 else f"{samples:.3g}"


def _names(lines: Sequence[Line]) -> list[Column]:
    rows = [_row(line.case) for line in lines]
    changed = [row for row in rows if row["method"] != "exact"]
    where = telling(rows, (*WHERE, "seq_len"))
    starts = [i == 0 or line.case.cell != lines[i - 1].case.cell for i, line in enumerate(lines)]
    places = (place(row, where) if new else "" for row, new in zip(rows, starts, strict=True))
    # Every setting is told that is not left as it is, for there is no other column to tell it.
    how = {"sketch", *CHOICES, *differing(changed, kind_columns())}
    return [
        Column("", tuple(places), is_number=False),
        Column("method", tuple(_method(row, how) for row in rows), is_number=False),
    ]


def _row(case: Case) -> Row:
    patterns = {name: " ".join(getattr(case, name)) or None for name in ("include", "exclude")}
    return case.model_dump() | patterns


def _method(row: Row, how: Collection[str]) -> str:
    return "exact" if row["method"] == "exact" else setting(row, how)


def _largest(line: Line) -> str:
    if line.trouble is not None:
        # Where the search ended early more may fit.
        return f"≥ {line.fits}" if line.fits else line.trouble.outcome
    if line.fails is None:
        return f"≥ {line.fits}"
    return str(line.fits) if line.fits else "none fits"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}×"


def _throughput(timed: Record | None) -> float | None:
    return timed.timing.samples_per_second if timed and timed.timing else None


def _per_second(line: Line) -> str:
    value = _throughput(line.timed)
    if value is not None:
        return per_second(value)
    return line.timed.outcome.replace("_", " ") if line.timed else ""
