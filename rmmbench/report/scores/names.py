"""The names of places, and a note on the CPU threads of runs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rmmbench.report.labels import place
from rmmbench.report.scores.line import Line
from rmmbench.results.tidy import CELL, telling
from rmmbench.spec.measuring import TrainingSettings
from rmmbench.units import format_count

WHERE: Final = ("task", *(name for name in CELL if name not in ("task", "seed")))


def place_names(lines: Sequence[Line], columns: Sequence[str] = WHERE) -> dict[str, str]:
    """Return the shortest names, by place, that tell the places apart.

    Where `columns` are not enough, the training settings that differ are added.
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
    """Return how runs shared the CPU: "1 CPU thread a run, up to 2 runs side by side."."""
    notes = set()
    for run in (run for line in lines for run in line.records.values()):
        if run.case.training and run.case.time_device == "cpu":
            threads, ranks = run.case.training.threads, run.case.ranks
            beside = max(1, run.environment.cpu_count // (threads * ranks))
            note = f"{format_count(threads, 'CPU thread')} a {'rank' if ranks > 1 else 'run'}"
            notes.add(note + (f", up to {beside} runs side by side" if beside > 1 else ""))
    return "; ".join(sorted(notes)) + "." if notes else ""


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
