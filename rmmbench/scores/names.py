"""How places are named, and what their runs had in common."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rmmbench.case import TrainingSettings
from rmmbench.labels import place
from rmmbench.rows import CELL, telling
from rmmbench.scores.line import Line

WHERE: Final = ("task", *(name for name in CELL if name not in ("task", "seed")))


def place_names(lines: Sequence[Line], columns: Sequence[str] = WHERE) -> dict[str, str]:
    """Return, by place, as much of what was trained as tells the places apart.

    Where `columns` do not, because training itself differs, what differs in it is told too.
    """
    firsts = {line.place: line for line in reversed(lines)}
    told = telling([line.row for line in lines], columns)
    names = {name: place(line.row, told) for name, line in firsts.items()}
    counts = Counter(names.values())
    alike = {name: firsts[name] for name in names if counts[names[name]] > 1}
    more = _training_names(alike)
    return {
        line.place: " · ".join(filter(None, [names[line.place], more.get(line.place, "")]))
        for line in lines
    }


def threads_note(lines: Iterable[Line]) -> str:
    """Return how many CPU threads the runs had: "1 CPU thread a run."; "" for runs on a GPU."""
    cases = [run.case for line in lines for run in line.records.values()]
    on_cpu = [case.training for case in cases if case.training and case.time_device == "cpu"]
    counts = sorted({training.threads for training in on_cpu})
    if not counts:
        return ""
    ending = "" if counts == [1] else "s"
    return f"{' or '.join(map(str, counts))} CPU thread{ending} a run."


def _training_names(lines: Mapping[str, Line]) -> dict[str, str]:
    settings = {
        name: next(iter(line.records.values())).case.training or TrainingSettings()
        for name, line in lines.items()
    }
    differing = [
        field
        for field in TrainingSettings.model_fields
        if len({getattr(each, field) for each in settings.values()}) > 1
    ]
    return {
        name: " · ".join(f"{field} {getattr(each, field)}" for field in differing)
        for name, each in settings.items()
    }
