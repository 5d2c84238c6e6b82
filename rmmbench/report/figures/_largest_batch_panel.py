"""Bars of the largest batch that fits into a given memory, one per way of saving it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rmmbench.report.figures._frontier_panel import full_hover
from rmmbench.report.figures._method_bars import WIDTH, Bar, bar_axis, bars, height
from rmmbench.report.figures._notes import join
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._style import COLORS, axis
from rmmbench.report.labels import place
from rmmbench.report.ways import EXACT, way_names
from rmmbench.results.tidy import PLACE, Row, group, setting_columns, shared
from rmmbench.units import format_bytes

SOURCES = {False: "measured", True: "predicted"}


@dataclass(frozen=True)
class Largest:
    """The result of a search for the largest batch of one way of saving memory.

    Attributes:
        name: Of the way.
        fits: The case of the largest batch that fits; None if none does.
        fails: The case of the smallest batch that does not fit; None if all tried fit.
        told: The case that the figure describes: a timed one of the largest batch if possible.
    """

    name: str
    fits: Row | None
    fails: Row | None
    told: Row

    @property
    def batch_size(self) -> int:
        """The largest batch, 0 if none fits."""
        return self.fits["batch_size"] if self.fits else 0

    @property
    def is_predicted(self) -> bool:
        """Whether memory was predicted rather than measured."""
        return bool((self.fits or self.told)["memory_device"] == "predict")


def searches(rows: Iterable[Row]) -> list[list[Largest]]:
    """Return the ways of each place and memory limit, the one with the largest batch first.

    A measurement takes precedence over a prediction. Ways without any answer are left out.
    """
    found = []
    for results in _results(rows):
        if any(each.fits for each in results):
            known = [each for each in results if _is_known(each)]
            found.append(sorted(known, key=lambda each: -each.batch_size))
    return found


def unanswered(rows: Iterable[Row]) -> list[Row]:
    """Return one case of each way that `searches` leaves out."""
    return [each.told for results in _results(rows) for each in results if not _is_known(each)]


def largest_batch_panel(ways: Sequence[Largest], drawn: Sequence[Row]) -> Panel:
    """Return the panel of one search; its heading names what not all `drawn` cases share."""
    own = [name for name in PLACE if name not in shared(drawn, PLACE)]
    limit = format_bytes(ways[0].told["memory_limit_bytes"])
    exact = next((each for each in ways if each.told["method"] == EXACT), None)
    places, traces = range(len(ways))[::-1], []
    for is_predicted, source in SOURCES.items():
        at = [i for i, each in enumerate(ways) if each.is_predicted is is_predicted]
        members = [_bar(ways[i], exact) for i in at]
        color = COLORS[5 if is_predicted else 0]
        traces += [bars(members, source, color, [places[i] for i in at])] if at else []
    names = [each.name for each in ways]
    return Panel(
        traces=traces,
        x=axis("largest batch, samples a step", range=[0, 1.55 * ways[0].batch_size]),
        y=bar_axis(names[::-1]),
        heading=join(f"Largest batch in {limit}", place(ways[0].told, own)),
        legend="whether it fits",
        width=WIDTH,
        height=height(names),
    )


def _is_known(way: Largest) -> bool:
    return way.fits is not None or way.fails is not None


def _results(rows: Iterable[Row]) -> list[list[Largest]]:
    limited = [row for row in rows if row["memory_limit_bytes"] is not None]
    names = way_names(limited)
    return [
        [_largest(probes, names) for probes in group(alike, setting_columns())]
        for alike in group(limited, (*PLACE, "memory_limit_bytes"))
    ]


def _largest(probes: Sequence[Row], names: Mapping[str, str]) -> Largest:
    sized = [row for row in probes if row["memory_device"] is not None]
    ended = [row for row in sized if row["outcome"] in ("ok", "out_of_memory")]
    measured = [row for row in ended if row["memory_device"] != "predict"]
    counted = sorted(measured or ended, key=lambda row: row["batch_size"])
    fails = next((row for row in counted if row["outcome"] == "out_of_memory"), None)
    fitting = [
        row
        for row in counted
        if row["outcome"] == "ok" and (fails is None or row["batch_size"] < fails["batch_size"])
    ]
    fits = fitting[-1] if fitting else None
    timed = [
        row
        for row in probes
        if fits and row["batch_size"] == fits["batch_size"] and row["samples_per_second"]
    ]
    told = [*timed, *filter(None, (fits, fails)), probes[-1]][0]
    return Largest(names[told["key"]], fits, fails, told)


def _bar(way: Largest, exact: Largest | None) -> Bar:
    size, told = way.batch_size, way.told
    words = [f"{size}" if way.fails else f"{size} or more"] if size else ["none fits"]
    if size and exact and exact.batch_size and way is not exact:
        words.append(f"{size / exact.batch_size:.2f} ×")
    if told["samples_per_second"] is not None:
        speed = told["samples_per_second"]
        words.append(f"{speed:,.0f} samples/s" if speed >= 100 else f"{speed:.3g} samples/s")
    lines = [full_hover(told, way.name), f"largest batch {size}"]
    if way.fails:
        lines.append(f"{way.fails['batch_size']} does not fit")
    return Bar(way.name, size, "   ".join(words), "<br>".join(lines))
