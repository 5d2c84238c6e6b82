"""The table of the largest batch of each method."""

from collections.abc import Callable, Sequence
from typing import Any

from rmmbench.report.labels import CONTEXT, has_reserved, place, provenance, setting
from rmmbench.report.tables.columns import per_second
from rmmbench.report.tables.table import Column, Table, Tone, build, unseen
from rmmbench.results.case_columns import case_row
from rmmbench.results.record import Environment, Record
from rmmbench.results.tidy import (
    CELL,
    Row,
    differing,
    kind_columns,
    read_rows,
    shared,
    telling_places,
)
from rmmbench.running.largest_batch import Line
from rmmbench.spec.case import Case
from rmmbench.spec.known_settings import choices
from rmmbench.units import byte_unit, format_bytes

WHERE = tuple(name for name in CELL if name != "batch_size")


def batch_table(lines: Sequence[Line], environment: Environment) -> Table:
    """Return a row per line, with what all lines share below."""
    records = [record for line in lines for record in line.known.values()]
    records += [line.timed for line in lines if line.timed is not None]
    rows = read_rows(records)
    names = [name for name in CELL if name not in ("batch_size", "dtype", "seed")]
    limit = f"{format_bytes(lines[0].case.memory_limit_bytes)} of memory{_on_each(lines)}"
    synthetic = "; ".join(dict.fromkeys(r.synthetic for r in records if r.memory or r.timing))
    about = " · ".join(filter(None, [place(rows[0], shared(rows, names)), limit]))
    return build(
        lines,
        [*_names(lines), *_numbers(lines)],
        tone=_tone,
        section=lambda line: line.case.cell,
        notes=(about, provenance(rows, environment, synthetic), *[CONTEXT] * has_reserved(rows)),
    )


def _on_each(lines: Sequence[Line]) -> str:
    """Return whose the memory is, where steps are over ranks: all of one count, or of several."""
    found = {line.case.on_each for line in lines}
    return found.pop() if len(found) == 1 else " on each rank"


def _tone(line: Line) -> Tone:
    if line.trouble is None:
        return ""
    return "faint" if line.trouble.outcome == "skipped" else "failed"


def _names(lines: Sequence[Line]) -> list[Column[Line]]:
    rows: list[Row] = [case_row(line.case) for line in lines]
    changed = [row for row in rows if row["method"] != "exact"]
    where = telling_places(rows, WHERE)
    # The name has every setting that is not the default, for no other column has it.
    how = {"sketch", *choices(), *differing(changed, kind_columns())}

    def method(line: Line) -> str:
        return setting(case_row(line.case), how)

    return [
        Column(
            "",
            "",
            text=lambda line: place(case_row(line.case), where),
            is_number=False,
            is_said_once=True,
        ),
        Column("label", "method", lambda line: line.case.label, text=method, is_number=False),
        unseen("case", lambda line: _without_size(line.case)),
        unseen("outcome", lambda line: line.trouble.outcome if line.trouble else "ok"),
        unseen("reason", lambda line: line.trouble.reason if line.trouble else None),
    ]


def _without_size(case: Case) -> dict[str, object]:
    return {name: value for name, value in case.flat().items() if name != "batch_size"}


def _numbers(lines: Sequence[Line]) -> list[Column[Line]]:
    unit = byte_unit(max(line.case.memory_limit_bytes or 0 for line in lines))
    probes = [record.memory for line in lines for record in line.known.values()]
    is_reserved = any(memory and memory.reserved_bytes is not None for memory in probes)

    def taken(name: str, size: Callable[[Line], int | None]) -> list[Column[Line]]:
        """Return the columns of what a batch takes: what the limit is held against is shown."""
        shown = f"{'reserved' if is_reserved else 'its peak'}\n{unit.name}"

        def part(line: Line, field: str) -> Any:
            return getattr(line.memory(size(line)), field, None)

        return [
            unseen(f"{name}_peak_bytes", lambda line: part(line, "peak_allocated_bytes")),
            unseen(f"{name}_reserved_bytes", lambda line: part(line, "reserved_bytes")),
            Column("", shown, text=lambda line: unit.write(part(line, "needed_bytes"))),
        ]

    in_all: Column[Line] = Column(
        "largest_samples",
        "in all\nranks",
        lambda line: line.at(line.fits).samples if line.fits else None,
    )
    return [
        Column(
            "largest_batch_size", "largest\nbatch", lambda line: line.fits or None, text=_largest
        ),
        *[in_all] * any(line.case.ranks > 1 for line in lines),
        *taken("largest", lambda line: line.fits),
        Column("too_large_batch_size", "too\nlarge", lambda line: line.fails),
        *taken("too_large", lambda line: line.fails),
        Column(
            "times_exact",
            "times\nexact's",
            lambda line: times_exact(line, lines),
            lambda ratio: f"{ratio:.2f}×",
        ),
        Column(
            "samples_per_second",
            "samples/s",
            lambda line: _throughput(line.timed),
            text=_per_second,
        ),
        Column("probes", "probes", lambda line: len(line.known)),
    ]


def times_exact(line: Line, lines: Sequence[Line]) -> float | None:
    """Return a line's largest batch ÷ exact's in the same place; None if either is unknown."""
    cell = line.case.cell
    exact = next(
        (each for each in lines if each.case.method == "exact" and each.case.cell == cell), None
    )
    if exact is None or any(each.trouble or not each.fits for each in (line, exact)):
        return None
    return line.fits / exact.fits


def _largest(line: Line) -> str:
    if line.trouble is not None:
        # The search ended early, so more may fit.
        return f"≥ {line.fits}" if line.fits else line.trouble.outcome
    if line.fails is None:
        return f"≥ {line.fits}"
    return str(line.fits) if line.fits else "none fits"


def _throughput(timed: Record | None) -> float | None:
    return timed.timing.samples_per_second if timed and timed.timing else None


def _per_second(line: Line) -> str:
    value = _throughput(line.timed)
    if value is not None:
        return per_second(value)
    return line.timed.outcome.replace("_", " ") if line.timed else ""
