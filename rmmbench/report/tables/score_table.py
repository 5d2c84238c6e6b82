"""The tables of training runs: scores over seeds, differences beyond chance, time, memory."""

from collections.abc import Sequence
from dataclasses import replace

from rmmbench.report import papers_rows
from rmmbench.report.labels import place, provenance, shared_place
from rmmbench.report.scores import (
    WHERE,
    Difference,
    Line,
    Spread,
    by_place,
    place_names,
    threads_note,
)
from rmmbench.report.tables import columns
from rmmbench.report.tables.score_overview import overview, papers_score
from rmmbench.report.tables.table import Column, Table, build, unseen
from rmmbench.results.record import Environment
from rmmbench.results.tidy import CELL, Row, shared
from rmmbench.spec.profile import Profile
from rmmbench.units import byte_unit, format_seconds


def score_tables(
    lines: Sequence[Line], profile: Profile, environment: Environment, synthetic: str
) -> list[Table]:
    """Return a table per place, an overview if there are several places, and notes below."""
    whole = build(lines, _columns(lines, profile), tone=lambda line: "" if line.score else "failed")
    names = place_names(lines)
    tables: list[Table] = []
    first = 0
    for members in by_place(lines).values():
        title = _title(members[0], lines, names[members[0].place])
        part = whole.part(slice(first, first + len(members)), title)
        tables.append(replace(part, warnings=tuple(_failures(members))))
        first += len(members)
    if len(names) > 1:
        tables.append(overview(lines, names, profile))
    rows = [line.row for line in lines]
    subjects = ["training"] + ["memory"] * ("peak_allocated_bytes" in _shown(whole))
    where = [provenance(rows, environment, synthetic, subjects), threads_note(lines)]
    notes = [shared_place(rows), " ".join(filter(None, where)), *_notes(lines, whole, profile)]
    tables[-1] = replace(tables[-1], notes=tuple(filter(None, notes)))
    return tables


def _columns(lines: Sequence[Line], profile: Profile) -> list[Column[Line]]:
    rows = [line.row for line in lines]
    unit = byte_unit(max((line.peak_bytes.mean for line in lines if line.peak_bytes), default=0))

    def row(line: Line) -> Row:
        return line.row

    return [
        *(column.of(row) for column in (*columns.CASE, *columns.names(rows))),
        Column("runs", "runs", lambda line: len(line.records), text=_runs),
        unseen("metric", lambda line: line.metric),
        Column("score", "score", lambda line: _mean(line.score), text=_score),
        unseen("score_deviation", lambda line: line.score and line.score.deviation),
        replace(papers_score(profile), heading="paper's\nscore"),
        Column(
            "difference",
            "difference\n± 95 %",
            lambda line: line.against and line.against.mean,
            text=_difference,
        ),
        Column(
            "is_more_than_chance",
            "more\nthan\nchance",
            lambda line: line.against and line.against.is_more_than_chance,
            lambda is_more: "yes" if is_more else "no",
        ),
        *_LOSS,
        Column("train_seconds", "time", lambda line: _mean(line.train_seconds), format_seconds),
        replace(columns.RELATIVE_THROUGHPUT.of(row), value=lambda line: line.relative_throughput),
        columns.papers_relative(profile).of(row),
        Column(
            "peak_allocated_bytes",
            f"peak\n{unit.name}",
            lambda line: _mean(line.peak_bytes),
            unit.write,
        ),
    ]


def _mean(spread: Spread | None) -> float | None:
    return None if spread is None else spread.mean


def _title(line: Line, lines: Sequence[Line], name: str) -> str:
    """Return what tells a place from the others, and its metric."""
    common = shared([each.row for each in lines], CELL)
    where = place(line.row, [each for each in WHERE if each == "task" or each not in common])
    parts = [*where.split(" · "), *name.split(" · "), line.metric_name]
    return " · ".join(filter(None, dict.fromkeys(parts)))


def _failures(lines: Sequence[Line]) -> list[str]:
    """Return a line per setting with runs that failed or have no score."""
    label = columns.method([line.row for line in lines])
    said = []
    for line in lines:
        total, counts = len(line.records), dict(line.failures)
        without = len(line.finished) - (line.score.count if line.score else 0)
        counts |= {"without a score": without} if without else {}
        if counts:
            rate = f" ρ={line.row['rho']:g}" if line.row["rho"] else ""
            shares = [f"{n} of {total} {how.replace('_', ' ')}" for how, n in counts.items()]
            said.append(f"{label.cell(line.row)}{rate}: {', '.join(shares)}")
    return said


def _notes(lines: Sequence[Line], table: Table, profile: Profile) -> list[str]:
    """Return how the numbers in the shown columns were computed."""
    shown = _shown(table)
    several = any(len(line.records) > 1 for line in lines)
    score = "Score: after the last step"
    said = [f"{score}, mean ± standard deviation over seeds." if several else f"{score}, one seed."]
    if "eval_loss" in shown:
        said.append("Loss: of the evaluation, mean.")
    if "difference" in shown:
        said.append("Difference: from exact, paired over seeds, with its 95 % confidence interval.")
    if "is_more_than_chance" in shown:
        said.append(
            "More than chance (*): paired t-test, p below 0.05 when adjusted over all settings "
            "of a task (Benjamini and Hochberg)."
        )
    if "train_seconds" in shown:
        said.append(
            "Time: of a run's steps, mean; relative throughput: exact's time ÷ the setting's, "
            "median over seeds."
        )
    if any(line.failures for line in lines):
        said.append("Failed runs are left out of all numbers.")
    notes = [" ".join(said)]
    if shown & {"papers_score", "papers_relative_throughput"}:
        sources = papers_rows.sources(profile)
        notes.append(f"The paper's numbers: {sources}; from its own hardware and weights.")
    return notes


def _shown(table: Table) -> set[str]:
    return {column.name for column in table.shown}


def _runs(line: Line) -> str:
    with_score = line.score.count if line.score else 0
    total = len(line.records)
    return str(total) if with_score == total else f"{with_score} of {total}"


def _score(line: Line) -> str:
    """Format a score over seeds: "60.51 ± 1.31"; "" if there is none."""
    if line.score is None:
        return ""
    mean = line.write(line.score.mean)
    deviation = line.score.deviation
    return mean if deviation is None else f"{mean} ± {line.write(deviation)}"


def _difference(line: Line) -> str:
    """Format the mean difference of scores ± half its confidence interval."""
    return _interval(line.against, line.scale, line.digits)


def _loss_difference(line: Line) -> str:
    """Format the mean difference of losses, with a star where it is more than chance."""
    is_more = line.loss_against and line.loss_against.is_more_than_chance
    return _interval(line.loss_against, 1, _LOSS_DIGITS) + ("*" if is_more else "")


def _interval(found: Difference | None, scale: int, digits: int) -> str:
    """Format a mean difference ± half its confidence interval, which is symmetric."""
    if found is None:
        return ""
    mean = f"{scale * found.mean:+.{digits}f}"
    if found.low is None or found.high is None:
        return mean
    return f"{mean} ± {scale * (found.high - found.low) / 2:.{digits}f}"


_LOSS_DIGITS = 3
_LOSS: list[Column[Line]] = [
    Column("eval_loss", "loss", lambda line: _mean(line.loss), lambda n: f"{n:.{_LOSS_DIGITS}f}"),
    Column(
        "loss_difference",
        "difference\nof loss\n± 95 %",
        lambda line: line.loss_against and line.loss_against.mean,
        text=_loss_difference,
    ),
]
