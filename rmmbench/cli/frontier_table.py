"""The table of every way of saving memory: what each saves, its speed, its gradient error."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rmmbench.cli.table_command import WIDER, stdout
from rmmbench.cli.telling import tell

if TYPE_CHECKING:
    from rich.text import Text

    from rmmbench.cli.columns import Column
    from rmmbench.report.figures import FigureData
    from rmmbench.report.figures.frontier import Cell
    from rmmbench.results.tidy import Row

OF_EXACT, OF_ALL = "of exact", "of all"


def show(data: "FigureData") -> None:
    """Print a table a cell to stdout; what did not end well, and why, to stderr.

    Cases of limited memory are left out: they tell of the largest batch, not of one cell.
    """
    from rmmbench.cli.drawn import drawn
    from rmmbench.report.figures.frontier import read_cells

    cells = [cell for cell in read_cells(data.step_rows) if cell.compares]
    console = stdout(WIDER)
    for cell in cells:
        rows = in_order(cell)
        styles = ["" if row["outcome"] == "ok" else "red" for row in rows]
        console.print()
        console.print(
            drawn(columns(cell), range(len(rows)), styles=styles, title=_title(cell, cells))
        )
    if cells:
        console.print()
        console.print(_caption(data, cells))
    shown = {row["key"] for cell in cells for row in cell.rows}
    for record in data.records:
        if record.outcome != "ok" and record.key in shown:
            tell(f"{record.outcome}: {record.case.title}: {record.reason}")


def in_order(cell: "Cell") -> "list[Row]":
    """Return exact, then the ways from the highest peak to the lowest, then those without one."""
    sized = {row["key"] for row in cell.sized}
    return [*cell.sized, *(row for row in cell.rows if row["key"] not in sized)]


def columns(cell: "Cell") -> "list[Column]":
    """Return the columns in which some cell of text says something, for rows `in_order`."""
    from rmmbench.cli.columns import Column
    from rmmbench.report.labels import gradient_error, throughput_interval
    from rmmbench.units import GIB, MIB, format_percent

    rows = in_order(cell)
    best = {row["key"]: OF_ALL for row in cell.best}
    best |= {row["key"]: OF_EXACT for row in cell.exact_best}
    is_small = all((row["peak_allocated_bytes"] or 0) < GIB for row in rows)
    unit, size, digits = ("MiB", MIB, 1) if is_small else ("GiB", GIB, 2)

    def amount(n_bytes: int | None) -> str:
        return "" if n_bytes is None else f"{n_bytes / size:.{digits}f}"

    def saved(row: "Row") -> str:
        is_known = row["saving"] is not None and row["method"] != "exact"
        return format_percent(row["saving"]) if is_known else ""

    def column(heading: str, text: "Callable[[Row], str]", *, is_number: bool = True) -> Column:
        return Column(heading, tuple(text(row) for row in rows), is_number)

    found = [
        column("method", lambda row: _plain(cell.names[row["key"]]), is_number=False),
        column(f"peak\n{unit}", lambda row: amount(row["peak_allocated_bytes"]) or _outcome(row)),
        column("saved", saved),
        column(f"kept for\nbackward\n{unit}", lambda row: amount(row["saved_bytes"])),
        column("relative\nthroughput", _ratio),
        column("95 %\ninterval", throughput_interval),
        column("gradient\nerror", gradient_error),
        column("no other\nis better", lambda row: best.get(row["key"], "")),
        column("line exact to\ncheckpoint", cell.side),
    ]
    return [each for each in found if any(each.cells)]


def _plain(name: str) -> str:
    return name.replace("\N{NO-BREAK SPACE}", " ")


def _outcome(row: "Row") -> str:
    return "" if row["outcome"] == "ok" else str(row["outcome"]).replace("_", " ")


def _ratio(row: "Row") -> str:
    ratio = row["relative_throughput"]
    return "" if ratio is None else f"{ratio:.3f}"


def _title(cell: "Cell", cells: "Sequence[Cell]") -> str:
    """Return what tells a cell's table from the others."""
    from rmmbench.report.figures.frontier import DEVICES
    from rmmbench.report.labels import place
    from rmmbench.results.tidy import CELL, telling

    told = telling([each.rows[0] for each in cells], [*CELL, "memory_device"])
    words = [place(cell.rows[0], [name for name in told if name != "memory_device"])]
    words += [DEVICES[cell.rows[0]["memory_device"]]] if "memory_device" in told else []
    return " · ".join(filter(None, words))


def _caption(data: "FigureData", cells: "Sequence[Cell]") -> "Text":
    """Return what all rows share, where their numbers are from, and what names leave out."""
    from rich.text import Text

    from rmmbench.report.figures.frontier import NO_MORE, left_out
    from rmmbench.report.labels import place, provenance
    from rmmbench.results.tidy import CELL, shared

    rows = [row for cell in cells for row in cell.rows]
    said = [place(rows[0], shared(rows, [name for name in CELL if name not in ("dtype", "seed")]))]
    said += [provenance(rows, data.environment, data.synthetic), _plain(left_out(rows))]
    if any(cell.timed for cell in cells):
        same = f"up to {100 * NO_MORE:g} % is no difference in peak"
        said.append(
            f"No other is better in peak memory and throughput: {OF_EXACT} gradients; {OF_ALL}, "
            f"where less gradient error is better, too; {same}."
        )
    if any(cell.line for cell in cells):
        said.append("Above: faster than the straight line from exact to checkpoint at its peak.")
    return Text("\n".join(filter(None, said)), style="dim")
