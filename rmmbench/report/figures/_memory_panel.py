"""Peak memory against batch size, one line per rate, with the device's limit."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rmmbench.report.figures._notes import hover, join, peak_title, place_names, setting_names
from rmmbench.report.figures._panel import Level, Panel
from rmmbench.report.figures._style import (
    HOLLOW,
    INK,
    PUBLISHED,
    axis,
    key,
    line,
    marks,
    rate_colors,
)
from rmmbench.report.figures.figure import FigureData
from rmmbench.report.labels import PAPERS_EXACT
from rmmbench.report.papers_rows import matches
from rmmbench.results.tidy import PLACE, Row, group, kept, kind_columns, setting_columns
from rmmbench.units import GIB, byte_unit, gib

TOO_BIG, CROSS = "out of memory", "x-thin-open"
FAR = 3  # times the highest mark; a limit beyond it would flatten all lines


def _line_columns() -> tuple[str, ...]:
    return (*PLACE, *setting_columns())


def memory_rows(data: FigureData) -> list[Row]:
    """Return the cases of lines with two or more batch sizes; none if no peak is known."""
    lines = group([row for row in data.step_rows if row["memory_device"]], _line_columns())
    lines = [rows for rows in lines if len({row["batch_size"] for row in rows}) > 1]
    lines.sort(key=lambda rows: (rows[0]["method"] != "exact", [-x for x in kept(rows[0])]))
    rows = [row for rows in lines for row in sorted(rows, key=lambda row: row["batch_size"])]
    return rows if any(map(_has_peak, rows)) else []


def has_mark(row: Row) -> bool:
    """Return whether the panel shows this case: as a point, or as a cross if out of memory."""
    return _has_peak(row) or _is_too_big(row)


def memory_panel(data: FigureData, rows: Sequence[Row], heading: str) -> Panel:
    """Return the panel of `memory_rows`.

    A case that ran out of memory is a cross above the limit, or above all marks if no limit is
    known. A limit that no case reached, far above all marks, is named in the corner, not drawn.
    """
    look = _Look(rows)
    lines, hollow = _lines(look, rows), _hollow(look, rows, data)
    highest = max(y for trace in (*lines, *hollow) for y in trace.y if y is not None)
    limit = device_limit(data, rows, look.unit.size)
    far = limit is not None and limit.y > FAR * highest and not any(map(_is_too_big, rows))
    ceiling = max(highest, limit.y if limit and not far else 0)
    crosses = _crosses(look, rows, ceiling)
    keys = [key(PUBLISHED, HOLLOW)] if hollow else []
    keys += [key(TOO_BIG, CROSS)] if crosses else []
    return Panel(
        traces=[*lines, *hollow, *crosses, *keys],
        x=axis("batch size", rangemode="tozero"),
        y=axis(peak_title(rows, look.unit), range=[0, 1.15 * ceiling]),
        levels=[limit] if limit and not far else [],
        heading=heading,
        corner=f"↑ {limit.text}, beyond this scale" if limit and far else "",
        legend="compression rate",
    )


class _Look:
    """The unit of the axis, and each line's name, colour (by rate) and dash (by all else)."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.unit = byte_unit(max(row["peak_allocated_bytes"] or 0 for row in rows))
        self._places, self._settings = place_names(rows, PLACE), setting_names(rows, PAPERS_EXACT)
        self._colors = rate_colors(rows)
        exact, others = (
            [r for r in rows if (r["method"] == "exact") is is_exact] for is_exact in (True, False)
        )
        self._kinds: dict[str, int] = {}
        for members in (group(exact, PLACE), group(others, (*PLACE, *kind_columns()))):
            self._kinds |= {row["key"]: i for i, alike in enumerate(members) for row in alike}

    def of(self, row: Row) -> tuple[str, str, int]:
        name = join(self._places[row["key"]], self._settings[row["key"]])
        color = INK if row["method"] == "exact" else self._colors[kept(row)]
        return name, color, self._kinds[row["key"]]


def _lines(look: _Look, rows: Sequence[Row]) -> list[Any]:
    traces = []
    for alike in group(rows, _line_columns()):
        points = [
            (row["batch_size"], row["peak_allocated_bytes"] / look.unit.size, hover(row))
            for row in alike
            if _has_peak(row)
        ]
        # A line that has only crosses still needs its legend entry.
        traces.append(line(points or [(None, None, "")], *look.of(alike[0])))
    return traces


def _hollow(look: _Look, rows: Sequence[Row], data: FigureData) -> list[Any]:
    traces = []
    for alike in group(rows, _line_columns()):
        name, color, _ = look.of(alike[0])
        points = [
            (
                row.batch_size,
                row.peak_gib * GIB / look.unit.size,
                f"<b>{PUBLISHED}, {name}</b><br>{row.peak_gib} GiB<br>{row.source}",
            )
            for row in data.profile.published
            if row.batch_size and row.peak_gib and matches(row, alike[0], but=("batch_size",))
        ]
        if points:
            traces.append(marks(points, PUBLISHED, color, HOLLOW))
    return traces


def _crosses(look: _Look, rows: Sequence[Row], ceiling: float) -> list[Any]:
    failed = [row for row in rows if _is_too_big(row)]
    most = max(Counter(row["batch_size"] for row in failed).values(), default=0)
    stacked: Counter[int] = Counter()
    traces = []
    for row in failed:
        stacked[row["batch_size"]] += 1
        y = ceiling * (1 + stacked[row["batch_size"]] * min(0.026, 0.13 / most))
        _, color, _ = look.of(row)
        traces.append(marks([(row["batch_size"], y, hover(row))], TOO_BIG, color, CROSS))
    return traces


def device_limit(data: FigureData, rows: Sequence[Row], unit_bytes: int) -> Level | None:
    """Return the memory of the device that the rows were measured on or predicted for, if known."""
    devices, environment = {row["memory_device"] for row in rows}, data.environment
    limit = data.profile.device_limit
    if devices == {"cuda"} and environment.gpu_memory_bytes:
        name, size = str(environment.gpu), environment.gpu_memory_bytes
    elif devices == {"predict"} and limit:
        name, size = limit.name, limit.memory_bytes
    else:
        return None
    return Level(size / unit_bytes, f"{name}: {gib(size):.4g} GiB", "left")


def _has_peak(row: Row) -> bool:
    return row["peak_allocated_bytes"] is not None


def _is_too_big(row: Row) -> bool:
    return row["outcome"] == "out_of_memory" and not _has_peak(row)
