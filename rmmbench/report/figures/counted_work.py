"""The counted work of every way of saving memory, as ratios to exact's."""

import math
from collections.abc import Sequence
from typing import Any, Final

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._frontier_panel import full_hover
from rmmbench.report.figures._method_bars import Bar, bar_axis, bars, height, margin
from rmmbench.report.figures._notes import footnote, heading, shared_words
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._sheet import LEFT, sheet
from rmmbench.report.figures._style import COLORS, axis, log_scale
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.ways import EXACT, Cell, left_out, read_cells
from rmmbench.results.counts import COUNTS
from rmmbench.results.tidy import Row
from rmmbench.units import format_count

MOST_CELLS = 3
FAR_APART = 2.5  # the highest ratio ÷ the lowest from which the scale is logarithmic
WIDTH = 230
LESS, MORE = "less than exact", "more than exact"
TITLES: Final = {
    "flops": "floating-point operations ÷ exact's",
    "moved_bytes": "bytes moved ÷ exact's",
    "operator_calls": "operator calls ÷ exact's",
}
_ON_ONE_SCALE, _CALLS = ("flops", "moved_bytes"), "operator_calls"
HOW_TO_READ = (
    "The work of one training step, counted as its operators are called: it has no noise, and it "
    "is not how long a step takes. Bytes moved are those of all operators' inputs and outputs."
)


class CountedWork(Figure):
    """Draws a row of panels per cell, one panel per count: a bar per way, from 1 to its ratio.

    At most `MOST_CELLS` cells are drawn, those with the most peaks.
    """

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one row of panels."""
        if _counted(data):
            return None
        return "the counted work of exact and of another way in one cell, which predictions have"

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels, the way with the fewest floating-point operations at the top."""
        counted = _counted(data)
        cells = counted[:MOST_CELLS]
        drawn = [row for _, rows in cells for row in rows]
        panels = []
        for cell, rows in cells:
            above = heading(rows, drawn) if len(cells) > 1 else ""
            panels += [_panel(cell, rows, drawn, name, above) for name in TITLES]
        names = [name for panel in panels for name in panel.y["ticktext"]]
        return sheet(
            panels,
            columns=len(TITLES),
            title="Counted work of each way of saving memory",
            subtitle=shared_words(drawn),
            footnote=_footnote(data, drawn, [cell for cell, _ in counted], len(cells)),
            left=max(LEFT, margin(names)),
            legend="work",
        )


def _counted(data: FigureData) -> list[tuple[Cell, list[Row]]]:
    """Return the cells with counts of exact and of other ways, and the rows of the latter."""
    cells = []
    for cell in read_cells(data.step_rows):
        others = [row for row in cell.rows if row["method"] != EXACT]
        rows = [row for row in others if all(_ratio(row, name) is not None for name in COUNTS)]
        rows.sort(key=lambda row: (_ratio(row, "flops"), _ratio(row, "moved_bytes")))
        cells += [(cell, rows)] if rows else []
    return cells


def _ratio(row: Row, name: str) -> float | None:
    ratio: float | None = row[f"relative_{name}"]
    return ratio


def _panel(cell: Cell, rows: Sequence[Row], drawn: Sequence[Row], name: str, above: str) -> Panel:
    """Return the panel of one count; only that of the first says the names and the place."""
    is_first = name == next(iter(TITLES))
    traces = []
    for is_more, color in ((False, COLORS[0]), (True, COLORS[1])):
        at = [i for i, row in enumerate(rows) if (row[f"relative_{name}"] > 1) is is_more]
        members = [_bar(cell, rows[i], name) for i in at]
        places = [len(rows) - 1 - i for i in at]
        if members:
            traces.append(bars(members, MORE if is_more else LESS, color, places).update(base=1))
    names = [cell.names[row["key"]] if is_first else "" for row in rows]
    return Panel(
        traces=traces,
        x=axis(TITLES[name], **_scale(drawn, (_CALLS,) if name == _CALLS else _ON_ONE_SCALE)),
        y=bar_axis(names[::-1]),
        walls=[1.0],
        heading=above if is_first else "",
        width=WIDTH,
        height=height([cell.names[row["key"]] for row in rows]),
    )


def _bar(cell: Cell, row: Row, name: str) -> Bar:
    """Return a way's bar, which begins at 1; the ratio is written at its end."""
    ratio, label = row[f"relative_{name}"], cell.names[row["key"]]
    return Bar(label, ratio - 1, f"{ratio:.2f}", full_hover(row, label))


def _scale(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """Return an axis's settings, with 1 and all ratios of these counts on it, and room for words.

    Operations and bytes are on one scale, so that lengths compare; calls may be many times exact's.
    Ratios far apart are on a logarithmic one, where half of exact's is as far from 1 as its double.
    """
    ratios = [row[f"relative_{name}"] for row in rows for name in names]
    low, high = min([1.0, *ratios]), max([1.0, *ratios])
    if 0 < FAR_APART * low < high:
        return log_scale((low, high), room=0.26 * math.log10(high / low))
    room = 0.24 * ((high - low) or 0.1)
    return {"range": [low - room * (low < 1), high + room]}


def _footnote(data: FigureData, drawn: Sequence[Row], cells: Sequence[Cell], count: int) -> str:
    """Return how to read the figure, and what it has not: of its own cells, and what failed."""
    said = [HOW_TO_READ]
    mine = {cell.rows[0]["cell"] for cell in cells[:count]}
    crowded = {cell.rows[0]["cell"] for cell in cells[count:]}
    rows = [
        row
        for row in data.step_rows
        if row["cell"] in mine or (row["outcome"] != "ok" and row["cell"] not in crowded)
    ]
    rows = [row for row in rows if row["method"] != EXACT and row["memory_device"]]
    said.append(footnote(data, rows, drawn, subjects=["memory"]))
    more = format_count(len(crowded), "more cell")
    said.append(f"Left out for lack of space: {more}." if crowded else "")
    said.append(left_out(drawn))
    return " ".join(filter(None, said))
