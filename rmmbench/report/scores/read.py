"""Groups training records into lines, and compares those of a place with exact."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from rmmbench.report.scores.line import Line
from rmmbench.report.scores.statistics import Difference, adjusted, difference
from rmmbench.results.record import Record
from rmmbench.results.tidy import Row, kept, kind_columns, read_rows, setting_columns


def read_lines(records: Iterable[Record]) -> list[Line]:
    """Return a line per place and setting of the training records.

    Places and kinds are in the order of their first runs. At a place exact comes first, and each
    kind goes from most to least kept. If a case was run again, its last record counts.
    """
    runs = {record.key: record for record in records if record.case.training is not None}
    places: dict[str, list[Row]] = {}
    for row in read_rows(runs.values()):
        # The cell at seed 0 identifies every training setting but the seed.
        without_seed = runs[row["key"]].case.model_copy(update={"seed": 0})
        places.setdefault(without_seed.cell, []).append(row)
    return [line for name, rows in places.items() for line in _at_place(name, rows, runs)]


def by_place(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Return the lines by their place."""
    places: dict[str, list[Line]] = {}
    for line in lines:
        places.setdefault(line.place, []).append(line)
    return places


def _at_place(name: str, rows: Sequence[Row], runs: Mapping[str, Record]) -> list[Line]:
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in setting_columns()), []).append(row)
    trained = [runs[row["key"]].training for row in rows]
    known = next((training for training in trained if training is not None), None)
    lines = []
    for alike in groups.values():
        by_seed = {row["seed"]: runs[row["key"]] for row in alike}
        line = Line(name, alike[0], dict(sorted(by_seed.items())))
        if known is not None:
            line = replace(line, metric=known.metric, higher_is_better=known.higher_is_better)
        lines.append(line)
    return _compared(_in_order(lines))


def _in_order(lines: Sequence[Line]) -> list[Line]:
    kinds = list(dict.fromkeys(_kind(line) for line in lines))

    def order(line: Line) -> tuple[object, ...]:
        how = kinds.index(_kind(line)), [-size for size in kept(line.row)]
        return (not line.is_exact, *how)

    return sorted(lines, key=order)


def _kind(line: Line) -> tuple[object, ...]:
    return tuple(line.row[name] for name in kind_columns())


def _compared(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of one place, compared with exact's line there."""
    exact = next((line for line in lines if line.is_exact), None)
    if exact is None:
        return list(lines)
    scores = _differences(lines, exact, lambda line: line.scores)
    losses = _differences(lines, exact, lambda line: line.losses)
    return [
        replace(
            line,
            against=score,
            loss_against=loss,
            relative_throughputs=_relative_throughputs(line, exact),
        )
        for line, score, loss in zip(lines, scores, losses, strict=True)
    ]


def _differences(
    lines: Sequence[Line], exact: Line, read: Callable[[Line], Mapping[int, float]]
) -> list[Difference | None]:
    """Return how what is read of each line differs from exact's, tested together."""
    found = [None if line is exact else difference(read(line), read(exact)) for line in lines]
    together = adjusted([each.p_value if each else None for each in found])
    return [
        replace(each, adjusted=p_value) if each else None
        for each, p_value in zip(found, together, strict=True)
    ]


def _relative_throughputs(line: Line, exact: Line) -> tuple[float, ...]:
    ours, theirs = line.seconds, exact.seconds
    return tuple(theirs[seed] / ours[seed] for seed in ours if seed in theirs and ours[seed])
