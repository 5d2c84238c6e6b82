"""Columns that several tables share, each declared once."""

from collections.abc import Sequence

from rmmbench.report import papers_rows
from rmmbench.report.labels import gradient_error, has_reserved, kind, ratio_interval
from rmmbench.report.tables.table import Column, Tone, unseen
from rmmbench.results.counts import COUNTS
from rmmbench.results.tidy import CELL, Row, differing, interval, kind_columns
from rmmbench.spec.profile import Profile
from rmmbench.units import Unit, format_percent

RHO = Column[Row]("rho", "ρ", write=lambda rho: f"{rho:g}")
PROJ_DIM = Column[Row]("proj_dim", "proj_dim")
SAVED = Column[Row](
    "saving",
    "saved",
    text=lambda row: "" if row["method"] == "exact" else percent(row["saving"]),
)
RELATIVE_THROUGHPUT = Column[Row](
    "relative_throughput", "relative\nthroughput", write=lambda ratio: f"{ratio:.3f}"
)


def _interval(ratio: str) -> Column[Row]:
    return Column(
        f"{ratio}_interval",
        "95 %\ninterval",
        lambda row: None if row[ratio] is None else interval(row, ratio),
        text=lambda row: ratio_interval(row, ratio),
    )


INTERVAL, PRODUCT_INTERVAL = _interval("relative_throughput"), _interval("product_ratio")
GRADIENT_ERROR = Column[Row]("gradient_error", "gradient\nerror", text=gradient_error)
NOISE: list[Column[Row]] = [
    Column("noise_inflation", "noise\ninflation", write=lambda ratio: f"{ratio:.3g}"),
    Column(
        "effective_samples_per_second",
        "effective\nsamples/s",
        write=lambda value: per_second(value),
    ),
]
"""How many times as noisy a case's gradients are as exact's, and its throughput ÷ that."""
CASE: list[Column[Row]] = [unseen(name) for name in ("key", *CELL, "method", "sketch", "outcome")]
"""The case of a row, for programs; people see only what tells rows apart."""
COUNTED: list[Column[Row]] = [
    unseen(name) for each in COUNTS for name in (each, f"relative_{each}")
]
"""The work of a step, for programs; people have a table of it."""


def memory(unit: Unit, rows: Sequence[Row]) -> list[Column[Row]]:
    """Return the columns of a step's peak: live, allocated and reserved where that is known."""
    live = Column[Row]("peak_live_bytes", f"live\n{unit.name}", write=unit.write)
    reserved = Column[Row]("reserved_bytes", f"reserved\n{unit.name}", write=unit.write)
    if not has_reserved(rows):
        return [unseen(live.name), peak(unit, rows), unseen(reserved.name)]
    return [live, peak(unit, rows), reserved]


def peak(unit: Unit, rows: Sequence[Row]) -> Column[Row]:
    """Return the column of a step's peak allocated memory; cells without one have the outcome."""
    heading = "allocated" if has_reserved(rows) else "peak"

    def text(row: Row) -> str:
        if row["peak_allocated_bytes"] is not None:
            return unit.write(row["peak_allocated_bytes"])
        return happened(row) if row["memory_device"] else ""

    return Column("peak_allocated_bytes", f"{heading}\n{unit.name}", text=text)


def kept(unit: Unit, heading: str = "kept") -> Column[Row]:
    """Return the column of what a step keeps for the backward pass."""
    return Column("saved_bytes", f"{heading}\n{unit.name}", write=unit.write)


def papers_relative(profile: Profile) -> Column[Row]:
    """Return the column of the published relative throughput."""
    return Column(
        "papers_relative_throughput",
        "paper's\nrelative",
        lambda row: papers_rows.relative_throughput(profile, row),
        RELATIVE_THROUGHPUT.write,
    )


def node(rows: Sequence[Row]) -> Column[Row]:
    """Return the column of the machine that a row is of; people see it where there are several."""
    if len({row.get("node") for row in rows}) < 2:
        return unseen("node")
    return Column("node", "node", is_number=False)


def names(rows: Sequence[Row]) -> list[Column[Row]]:
    """Return the columns of how memory is saved and how much is kept."""
    return [method(rows), RHO, PROJ_DIM]


def method(rows: Sequence[Row]) -> Column[Row]:
    """Return the column of how memory is saved, with every setting that differs."""
    told = differing([row for row in rows if row["method"] != "exact"], kind_columns())
    has_sketches = all(row["method"] in ("exact", "rmm") for row in rows)
    heading = "sketch" if has_sketches else "method"
    return Column("label", heading, lambda row: kind(row, told), is_number=False)


def happened(row: Row) -> str:
    """Return the outcome of a case that failed: "out of memory"; else ""."""
    return "" if row["outcome"] == "ok" else str(row["outcome"]).replace("_", " ")


def outcome_tone(row: Row) -> Tone:
    """Return the tone of a case's row."""
    return "" if row["outcome"] == "ok" else "failed"


def percent(fraction: float | None) -> str:
    """Format a fraction as a percentage; "" for None."""
    return "" if fraction is None else format_percent(fraction)


def per_second(value: float) -> str:
    """Format a throughput: "5,273", "12.3" or "1.23"."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"
