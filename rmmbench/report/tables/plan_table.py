"""The table of plans: what each needs and costs, and what it does."""

from collections.abc import Sequence
from typing import Any

from rmmbench.report.labels import place
from rmmbench.report.tables.table import Column, Table, build
from rmmbench.results.case_columns import case_row
from rmmbench.results.tidy import CELL
from rmmbench.running.planning.plans import Plans, Sought
from rmmbench.running.planning.verification import Verified
from rmmbench.units import byte_unit, format_bytes, format_percent


def plan_table(plans: Plans) -> Table:
    """Return the table with a line per plan, the unchanged model's first."""
    beside = [plans.uniform] if plans.uniform else []
    lines: list[Sought | None] = [None, *plans.found, *beside]
    best = plans.best
    return build(
        lines,
        _columns(plans),
        tone=lambda line: (
            "good" if line and line is best else "faint" if line and line in beside else ""
        ),
        toned="plan",
        warnings=tuple(_without(plans)),
        notes=tuple(_notes(plans)),
    )


def _columns(plans: Plans) -> list[Column[Sought | None]]:
    unit = byte_unit(plans.exact.needed_bytes)
    whole = plans.exact.needed_bytes

    def known(name: str, usual: Any) -> Any:
        return lambda line: usual if line is None else getattr(line.predicted, name)

    def needs(line: Sought | None) -> int:
        return whole if line is None else line.predicted.peak_bytes

    return [
        Column("plan", "plan", _named, is_number=False),
        Column("needed_bytes", f"needs\n{unit.name}", needs, unit.write),
        Column(
            "saving",
            "saved",
            lambda line: None if line is None else 1 - needs(line) / whole,
            format_percent,
        ),
        Column("noise", "noise\n‖Ĝ−G‖²/‖G‖²", known("noise", None), lambda noise: f"{noise:.2g}"),
        Column("inflation", "noise\ninflation", known("inflation", None), "{:.3g}×".format),
        Column(
            "relative_throughput",
            "throughput,\n× exact's",
            known("relative_throughput", None),
            "{:.2f}×".format,
        ),
        Column("does", "what it does", _does, is_number=False),
    ]


def _named(line: Sought | None) -> str:
    return "exact" if line is None else ", ".join(line.names)


def _does(line: Sought | None) -> str:
    return "nothing" if line is None else line.plan.words


def _without(plans: Plans) -> list[str]:
    return [f"No plan fits that is the best in: {', '.join(plans.without)}."] * bool(plans.without)


def _notes(plans: Plans) -> list[str]:
    limit, on_each = plans.limit_bytes, plans.case.on_each
    fits = f" · {format_bytes(limit)}{on_each}" if limit is not None else ""
    said = [f"{place(case_row(plans.case), CELL)}{fits}"]
    said += [f"{', '.join(line.names)}: {line.why}." for line in plans.found]
    if plans.uniform:
        said.append("one setting: the best with one for all layers, beside that of least noise.")
    said += [
        f"Memory is predicted{on_each}, of the whole step of each plan; a limit goes by what is "
        "reserved.",
        f"Noise by {plans.noise_by}.",
        f"Time by {plans.time_by}: an estimate, not a measurement.",
    ]
    return [*said, *plans.warnings]


def verified_table(lines: Sequence[Verified], device: str, ranks: int = 1) -> Table:
    """Return the table of what was measured of plans."""
    over = f"Time is of {ranks} processes, noise of one that has the samples of all."
    return build(
        lines,
        [
            Column("plan", "plan", lambda line: ", ".join(line.names), is_number=False),
            Column("predicted_noise", "noise\nplanned", lambda one: one.predicted_noise, _two),
            Column("noise", "noise\nmeasured", lambda one: one.noise, _two),
            Column(
                "relative_throughput",
                "throughput,\n× exact's",
                lambda one: one.relative_throughput,
                "{:.2f}×".format,
            ),
            Column("does", "what it does", lambda one: one.does, is_number=False),
        ],
        notes=(
            f"Measured on the {device}, beside the unchanged model in turns.",
            "Noise is of all weights, as planned of those of linear layers alone.",
            *[over] * (ranks > 1),
        ),
    )


def _two(noise: float) -> str:
    return f"{noise:.2g}"
