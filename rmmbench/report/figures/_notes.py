"""The words in a figure: names of lines, hover text, subtitle and footnote."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from plotly.graph_objects import Figure as Drawing

from rmmbench.report import papers_rows
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._sheet import sheet
from rmmbench.report.figures.figure import FigureData
from rmmbench.report.labels import (
    EXACT,
    has_reserved,
    kind,
    place,
    provenance,
    ratio_interval,
    setting,
)
from rmmbench.results.tidy import (
    CELL,
    Row,
    differing,
    interval,
    kind_columns,
    setting_columns,
    shared,
    telling_places,
)
from rmmbench.spec.known_settings import choices, in_words
from rmmbench.units import Unit, format_bytes, format_flops, format_percent


def place_names(rows: Sequence[Row], columns: Sequence[str] = CELL) -> dict[str, str]:
    """Return the shortest names, by case key, that tell apart where the rows were measured."""
    told = telling_places(rows, columns)
    return {row["key"]: place(row, told) for row in rows}


def kind_names(rows: Sequence[Row]) -> dict[str, str]:
    """Return names by case key: the sketch, and every other setting but the rate that differs."""
    told = differing(rows, kind_columns())
    return {row["key"]: kind(row, told) for row in rows}


def setting_names(rows: Sequence[Row], exact: str = EXACT) -> dict[str, str]:
    """Return names by case key: the rate, and every other setting that differs."""
    told = differing([row for row in rows if row["method"] != "exact"], setting_columns())
    return {row["key"]: exact if row["method"] == "exact" else setting(row, told) for row in rows}


def fastest_first(
    rows: Iterable[Row], names: Mapping[str, str], by: str = "relative_throughput"
) -> list[str]:
    """Return the names of the rows, given by case key, from the largest median ratio down.

    Names without a time come last.
    """
    ratios: dict[str, list[float]] = {}
    for row in rows:
        ratio = row[by]
        ratios.setdefault(names[row["key"]], []).extend([] if ratio is None else [ratio])
    return sorted(ratios, key=lambda name: -statistics.median(ratios[name] or [0]))


def join(*parts: str) -> str:
    """Join the parts that are not empty: "MRPC · gaussian"."""
    return " · ".join(part for part in parts if part)


def case_sheet(
    panels: Sequence[Panel],
    data: FigureData,
    rows: Iterable[Row],
    drawn: Sequence[Row],
    *,
    subjects: Sequence[str],
    subtitle: str = "",
    note: str = "",
    **layout: Any,
) -> Drawing:
    """Return the panels on a sheet, with a footnote about their cases that `note` ends.

    Without a subtitle the sheet says what all drawn cases share. `rows`, `drawn` and `subjects`
    are those of `footnote`; `layout` takes other arguments of `sheet`.
    """
    paper = any(panel.has_published for panel in panels)
    measured = footnote(data, rows, drawn, subjects=subjects, paper=paper)
    held = reserved_words(drawn) if "memory" in subjects else ""
    return sheet(
        panels,
        subtitle=subtitle or shared_words(drawn),
        footnote=" ".join(filter(None, [measured, held, note])),
        **layout,
    )


def shared_words(rows: Sequence[Row]) -> str:
    """Return what all the rows share: "roberta-base · CoLA · adam · gaussian sketch, unshared"."""
    names = ("model", "task", "batch_size", "seq_len", "attention", "optimizer", "parallel")
    alike = shared(rows, names)
    return join(place(rows[0], alike), sketch_words(rows))


def sketch_words(rows: Sequence[Row]) -> str:
    """Return the sketch that the rows share, and its settings: "gaussian sketch, unshared".

    Without one common sketch this is empty, and the names in the figure say which it is.
    """
    sketched = [row for row in rows if row["method"] != "exact"]
    if len({row["sketch"] for row in sketched}) != 1 or not sketched[0]["sketch"]:
        return ""
    words = in_words(sketched[0], shared(sketched, choices()))
    return ", ".join([f"{sketched[0]['sketch']} sketch", *words])


def heading(rows: Sequence[Row], of: Sequence[Row]) -> str:
    """Return what a panel's rows share but not all rows of the figure."""
    own, common = shared(rows, CELL), shared(of, CELL)
    return place(rows[0], [name for name in own if name not in common])


def hover(row: Row) -> str:
    """Return all numbers of a case, one per line."""
    lines = [f"<b>{setting(row, ('sketch', *choices()))}</b>", place(row, CELL)]
    if row["outcome"] != "ok":
        lines.append(f"{_spoken(row['outcome'])}: {escape(row['reason'] or 'no reason given')}")
    if row["peak_allocated_bytes"] is not None:
        spared = f", {format_percent(row['saving'])} saved" if row["saving"] is not None else ""
        allocated = " allocated" if row["reserved_bytes"] is not None else ""
        lines.append(f"peak {format_bytes(row['peak_allocated_bytes'])}{allocated}{spared}")
        if row["reserved_bytes"] is not None:
            live, reserved = row["peak_live_bytes"], row["reserved_bytes"]
            lines.append(f"{format_bytes(live)} live, {format_bytes(reserved)} reserved")
        lines.append(f"kept for backward {format_bytes(row['saved_bytes'])}")
    for name, (digits, of) in _RATIOS.items():
        if row[name] is not None:
            speed = f"{row['samples_per_second']:.4g} samples/s"
            lines.append(f"{speed}, {row[name]:{digits}} × {of}")
            low, high = interval(row, name)
            lines += [f"95 %: {low:.3f} to {high:.3f}"] if low < high else []
    return "<br>".join(lines + _counted(row))


def _counted(row: Row) -> list[str]:
    """Return lines on the work of a step, with its ratios to exact's; none if it is unknown."""
    if row["operator_calls"] is None:
        return []
    told = {
        "flops": format_flops(row["flops"]),
        "moved_bytes": f"{format_bytes(row['moved_bytes'])} moved",
        "operator_calls": f"{row['operator_calls']:,} operator calls",
    }
    ratios = {name: row[f"relative_{name}"] for name in told}
    return [
        words if ratios[name] is None else f"{words}, {ratios[name]:.3f} × exact's"
        for name, words in told.items()
    ]


_RATIOS = {
    "relative_throughput": (".3f", EXACT),
    "product_ratio": (".3g", "as fast as the product"),
}


def footnote(
    data: FigureData,
    rows: Iterable[Row],
    drawn: Iterable[Row],
    *,
    subjects: Sequence[str],
    paper: bool = False,
    missing: str = "",
) -> str:
    """Return what was measured where, what is synthetic, what is not drawn, and what marks mean.

    Args:
        data: The run's.
        rows: The cases that the figure is about.
        drawn: Those of them that have a mark.
        subjects: Which of "memory", "time" and "training" is drawn.
        paper: Whether published numbers are drawn.
        missing: A sentence on the cases that are not drawn; by default they are counted by outcome.
    """
    rows, drawn = list(rows), list(drawn)
    marked = {row["key"] for row in drawn}
    absent = Counter(row["outcome"] for row in rows if row["key"] not in marked)
    counts = ", ".join(
        f"{n} case{'s' * (n > 1)} ({_spoken(outcome)})" for outcome, n in absent.items()
    )
    said = [provenance(rows, data.environment, data.synthetic, subjects)]
    said.append(missing or (counts and f"Not drawn: {counts}."))
    if "time" in subjects and any(ratio_interval(row, name) for row in drawn for name in _RATIOS):
        said.append("Error bars are 95 % confidence intervals.")
    if paper:
        said.append(
            f"Hollow diamonds are the paper's numbers ({papers_rows.sources(data.profile)})."
        )
    return " ".join(filter(None, said))


def peak_title(rows: Iterable[Row], unit: Unit) -> str:
    """Return the title of an axis of peaks, which says which they are where there are others."""
    return f"peak {'allocated ' if has_reserved(rows) else ''}memory, {unit.name}"


def reserved_words(rows: Iterable[Row]) -> str:
    """Return a sentence on how much more is reserved than drawn; "" if that is not known."""
    sized = [row for row in rows if row["reserved_bytes"] and row["peak_allocated_bytes"]]
    if not sized:
        return ""
    more = max(row["reserved_bytes"] / row["peak_allocated_bytes"] for row in sized) - 1
    return (
        f"A device must hold what is reserved: up to {format_percent(more)} more than is allocated."
    )


def _spoken(outcome: str) -> str:
    return "without this number" if outcome == "ok" else outcome.replace("_", " ")
