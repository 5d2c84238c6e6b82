"""How numbers moved from commit to commit, over all records of some runs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from rmmbench.report.figures._commits import Measure, Trend, commits_drawing
from rmmbench.report.labels import place
from rmmbench.report.page.pictures import Picture, picture
from rmmbench.report.ways import way_names
from rmmbench.results.record import Record
from rmmbench.results.store import Run
from rmmbench.results.tidy import CELL, Row, telling_places
from rmmbench.units import byte_unit, format_count

MOST = 6
"""Lines of a panel: those that moved most."""

_MEASURES: tuple[tuple[str, str], ...] = (
    ("peak_allocated_bytes", "peak memory"),
    ("relative_throughput", "relative throughput"),
    ("samples_per_second", "samples/s"),
    ("gradient_error", "gradient error"),
    ("score", "score"),
)


@dataclass(frozen=True)
class _Moment:
    """What was measured at one commit: the last record of each case, by case and machine."""

    name: str
    records: dict[tuple[str, str], Record]


def over_time(runs: Sequence[Run], name: str) -> Picture | None:
    """Return lines over commits; None if no case was measured at two."""
    moments = _moments(runs)
    latest = {key: record for each in moments for key, record in each.records.items()}
    keys = [key for key in latest if sum(key in each.records for each in moments) > 1]
    if not keys:
        return None
    names = _names({key: latest[key] for key in keys})
    found = [
        _measure(column, title, moments, {key: names[key] for key in keys})
        for column, title in _MEASURES
    ]
    measures = [measure for measure in found if measure.trends]
    if not measures:
        return None
    order = "by commit, or by run where none is recorded; in the order of their first records"
    note = f"Of {format_count(len(keys), 'case')} with two or more numbers at most {MOST} are drawn"
    words = (order, f"{note}, those that moved most.")
    # In a figure "<" begins a tag.
    drawing = commits_drawing([escape(each.name) for each in moments], measures, *words)
    return picture(drawing, name, "each measure by the commit of the records")


def _moments(runs: Iterable[Run]) -> list[_Moment]:
    """Return the commits in the order of their first records; a run without one is its own."""
    first: dict[str, str] = {}
    records: dict[str, dict[tuple[str, str], Record]] = {}
    for run in runs:
        for record in run.each_record():
            of = record.environment
            commit = f"{of.commit[:7]}{'+' if of.dirty else ''}" if of.commit else run.path.name
            first[commit] = min(first.get(commit, record.started_at), record.started_at)
            machine = (of.gpu or of.processor) if record.timing or record.training else ""
            records.setdefault(commit, {})[record.key, machine] = record
    return [_Moment(name, records[name]) for name in sorted(first, key=lambda each: first[each])]


def _names(latest: dict[tuple[str, str], Record]) -> dict[tuple[str, str], str]:
    """Return what tells the cases apart: where, how memory is saved, and the machine."""
    rows: list[Row] = [record.row() for record in latest.values()]
    told = telling_places(rows, CELL)
    ways = way_names(rows)
    machines = {machine for _, machine in latest}
    names = {}
    for (key, machine), row in zip(latest, rows, strict=True):
        way = ways[key].replace("\N{NO-BREAK SPACE}", " ")
        parts = [place(row, told), way, machine if len(machines) > 1 else ""]
        names[key, machine] = " · ".join(filter(None, parts))
    return names


def _measure(
    column: str, title: str, moments: Sequence[_Moment], names: dict[tuple[str, str], str]
) -> Measure:
    """Return the trends of a column that have two points or more."""
    values = {
        key: {
            index: value
            for index, moment in enumerate(moments)
            if key in moment.records
            and isinstance(value := moment.records[key].row()[column], int | float)
        }
        for key in names
    }
    known = {key: found for key, found in values.items() if len(found) > 1}
    moved = sorted(known, key=lambda key: -_change(known[key].values()))[:MOST]
    highest = max((value for key in moved for value in known[key].values()), default=0)
    scale, write, unit = _scale(column, highest)
    trends = [
        Trend(
            escape(names[key]),
            tuple(
                (index, value / scale, f"<b>{escape(moments[index].name)}</b><br>{write(value)}")
                for index, value in known[key].items()
            ),
        )
        for key in moved
    ]
    return Measure(f"{title}{unit}", tuple(trends))


def _change(values: Iterable[float]) -> float:
    found = list(values)
    return (max(found) - min(found)) / (abs(found[0]) or 1.0)


def _scale(column: str, highest: float) -> tuple[float, Callable[[float], str], str]:
    """Return what numbers of a column are divided by, how they are written, and their unit."""
    if column != "peak_allocated_bytes":
        return 1, lambda value: f"{value:.4g}", ""
    unit = byte_unit(highest)
    return unit.size, lambda value: f"{unit.write(value)} {unit.name}", f", {unit.name}"
