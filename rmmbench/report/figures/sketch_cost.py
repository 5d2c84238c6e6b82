"""How many times cheaper a sketch alone is than the product of its layer, by kind of sketch."""

from collections.abc import Mapping, Sequence

from plotly.graph_objects import Figure as Drawing

from rmmbench.report.figures._notes import (
    case_sheet,
    fastest_first,
    heading,
    hover,
    join,
    kind_names,
)
from rmmbench.report.figures._panel import Panel
from rmmbench.report.figures._sheet import LEFT
from rmmbench.report.figures._style import (
    SYMBOLS,
    axis,
    error_bars,
    log_scale,
    marks,
    name_axis,
    pick,
    rate_colors,
)
from rmmbench.report.figures.figure import Figure, FigureData
from rmmbench.report.labels import place, rate
from rmmbench.results.tidy import Row, group, kept, shared

TITLE, RATIO = "product time ÷ sketch time", "product_ratio"
COLUMNS, WIDTH, ROW_HEIGHT, CHARACTER = 4, 250, 26, 7.2


class SketchCost(Figure):
    """Draws one dot per sketch and rate on a logarithmic axis, one panel per cell."""

    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed for one dot."""
        if any(_is_timed(row) for row in _rows(data)):
            return None
        return "times of a sketch alone, of a grid whose measure is 'projection'"

    def draw(self, data: FigureData) -> Drawing:
        """Return the panels; all list the kinds from the cheapest to the dearest."""
        rows = _rows(data)
        drawn = [row for row in rows if _is_timed(row)]
        names = kind_names(drawn)
        kinds = fastest_first(drawn, names, RATIO)
        where = place(drawn[0], shared(drawn, ("model", "batch_size", "seq_len")))
        how = "right of 1 a sketch of the input takes less time than the product"
        return case_sheet(
            [
                _panel(cell, drawn, names, kinds, has_names=index % COLUMNS == 0)
                for index, cell in enumerate(group(drawn, ["cell"]))
            ],
            data,
            rows,
            drawn,
            subjects=["time"],
            subtitle=join(where, how),
            columns=COLUMNS,
            title="A sketch beside its layer's product",
            left=max(LEFT, round(CHARACTER * max(map(len, kinds))) + 24),
            legend="compression rate",
        )


def _panel(
    cell: Sequence[Row],
    rows: Sequence[Row],
    names: Mapping[str, str],
    kinds: Sequence[str],
    *,
    has_names: bool,
) -> Panel:
    """Return the panel of a cell, with the names of the kinds to its left if `has_names`."""
    down = {"range": [len(kinds) - 0.5, -0.5], "showgrid": True}
    colors = rate_colors(rows)
    rates = sorted({kept(row) for row in rows}, reverse=True)
    traces = []
    for alike in group(cell, ["rho", "proj_dim"]):
        size = kept(alike[0])
        step = rates.index(size)
        # Rates of a kind lie below one another, so that none is hidden.
        below = 0.5 * ((step + 0.5) / len(rates) - 0.5)
        values = [row[RATIO] for row in alike]
        points = [
            (value, kinds.index(names[row["key"]]) + below, hover(row))
            for value, row in zip(values, alike, strict=True)
        ]
        trace = marks(points, rate(alike[0]), colors[size], pick(SYMBOLS, step))
        trace.update(marker_size=9, marker_line_width=0, showlegend=True)
        traces.append(trace.update(error_x=error_bars(alike, colors[size], of=RATIO)))
    return Panel(
        traces=traces,
        x=axis(TITLE, **log_scale([1.0, *(row[RATIO] for row in rows)], room=0.15)),
        y=name_axis(kinds, showticklabels=has_names, **down),
        walls=(1,),
        heading=heading(cell, rows).replace("linear:", ""),
        width=WIDTH,
        height=max(200, ROW_HEIGHT * len(kinds) + 20),
    )


def _rows(data: FigureData) -> list[Row]:
    rows = [row for row in data.step_rows if row["projection_device"]]
    return sorted((row for row in rows if rate(row)), key=kept, reverse=True)


def _is_timed(row: Row) -> bool:
    return row[RATIO] is not None
