"""The words in a figure: names of lines, hover text, and what was measured where."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rmmbench import published
from rmmbench.figures.figure import FigureData
from rmmbench.labels import EXACT, kind, place, provenance, setting
from rmmbench.rows import CELL, KIND, SETTINGS, Row, shared, telling
from rmmbench.units import format_bytes, format_percent


def place_names(rows: Sequence[Row], columns: Sequence[str] = CELL) -> dict[str, str]:
    """Return, by each case's key, as much of where it was measured as tells the rows apart."""
    told = telling(rows, columns)
    return {row["key"]: place(row, told) for row in rows}


def kind_names(rows: Sequence[Row]) -> dict[str, str]:
    """Return, by each case's key, its sketch and all else but the rate that tells it apart."""
    told = telling(rows, KIND)
    return {row["key"]: kind(row, told) for row in rows}


def setting_names(rows: Sequence[Row]) -> dict[str, str]:
    """Return, by each case's key, its rate and all else of its settings that tells it apart."""
    told = telling([row for row in rows if row["method"] != "exact"], SETTINGS)
    return {row["key"]: setting(row, told) for row in rows}


def join(*parts: str) -> str:
    """Return the parts that say something as one name."""
    return " · ".join(part for part in parts if part)


def subtitle(rows: Sequence[Row]) -> str:
    """Return what all the rows share: "roberta-base · CoLA · adam · gaussian sketch"."""
    alike = shared(rows, ("model", "task", "batch_size", "seq_len", "attention", "optimizer"))
    sketches = {row["sketch"] for row in rows if row["sketch"]}
    return join(place(rows[0], alike), f"{sketches.pop()} sketch" if len(sketches) == 1 else "")


def heading(rows: Sequence[Row], of: Sequence[Row]) -> str:
    """Return what a panel's rows share and not all those of the figure do."""
    own, common = shared(rows, CELL), shared(of, CELL)
    return place(rows[0], [name for name in own if name not in common])


def hover(row: Row) -> str:
    """Return all numbers of a case, a line each."""
    lines = [f"<b>{setting(row)}</b>", place(row, CELL)]
    if row["outcome"] != "ok":
        lines.append(f"{_spoken(row['outcome'])}: {row['reason'] or 'no reason given'}")
    if row["peak_allocated_bytes"] is not None:
        spared = f", {format_percent(row['saving'])} saved" if row["saving"] is not None else ""
        lines.append(f"peak {format_bytes(row['peak_allocated_bytes'])}{spared}")
        lines.append(f"kept for backward {format_bytes(row['saved_bytes'])}")
    if row["relative_throughput"] is not None:
        times = f"{row['relative_throughput']:.3f} × {EXACT}"
        lines.append(f"{row['samples_per_second']:.4g} samples/s, {times}")
        lines.append(f"± {format_percent(row['spread'])}, standard error of the median step")
    return "<br>".join(lines)


def footnote(
    data: FigureData,
    rows: Iterable[Row],
    drawn: Iterable[Row],
    *,
    subjects: Sequence[str],
    paper: bool = False,
) -> str:
    """Return what was measured where, what is made up, what is not drawn, and where hollow is from.

    Args:
        data: Of the run.
        rows: The cases that the figure is about.
        drawn: Those of them that have a mark.
        subjects: Which of "memory" and "time" is drawn.
        paper: Whether published numbers are drawn.
    """
    rows, marked = list(rows), {row["key"] for row in drawn}
    missing = Counter(row["outcome"] for row in rows if row["key"] not in marked)
    said = [provenance(rows, data.environment, data.synthetic, subjects)]
    if missing:
        counts = ", ".join(f"{n} {_spoken(outcome)}" for outcome, n in missing.items())
        said.append(f"Not drawn: {counts}.")
    if paper:
        said.append(f"Hollow: published, {published.sources(data.profile)}.")
    return " ".join(said)


def _spoken(outcome: str) -> str:
    return "without the number" if outcome == "ok" else outcome.replace("_", " ")
