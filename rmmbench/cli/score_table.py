"""Training runs as tables for people: a section a task, all tasks at a glance, and a caption."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from rmmbench.cli import score_columns
from rmmbench.cli.columns import Column
from rmmbench.cli.drawn import drawn
from rmmbench.report import published
from rmmbench.report.labels import EXACT, place, provenance
from rmmbench.report.scores import WHERE, Line, by_place, place_names, threads_note
from rmmbench.results.record import Environment
from rmmbench.results.tidy import CELL, shared
from rmmbench.spec.profile import Profile


def score_table(
    lines: Sequence[Line],
    profile: Profile,
    environment: Environment,
    synthetic: str,
    *,
    width: int,
) -> RenderableType:
    """Return all that there is to say of the lines, in at most `width` characters a line."""
    columns = score_columns.columns(lines, profile)
    styles = ["" if line.score else "red" for line in lines]
    names = place_names(lines)
    parts: list[RenderableType] = []
    first = 0
    for members in by_place(lines).values():
        rows = range(first, first + len(members))
        title = _title(members[0], lines, names)
        parts.append(drawn(columns, rows, styles=styles, title=title, width=width))
        parts += [*_failures(members), Text("")]
        first = rows.stop
    if len(names) > 1:
        parts += [_overview(score_columns.overview(lines, names, profile)), Text("")]
    parts.append(Text("\n".join(_caption(lines, columns, profile, environment, synthetic)), "dim"))
    return Group(*parts)


def _title(line: Line, lines: Sequence[Line], names: Mapping[str, str]) -> str:
    """Return what tells a place apart, and all else in which places differ, and its metric."""
    common = shared([each.row for each in lines], CELL)
    where = place(line.row, [name for name in WHERE if name == "task" or name not in common])
    parts = [*where.split(" · "), *names[line.place].split(" · "), line.metric_name]
    return " · ".join(filter(None, dict.fromkeys(parts)))


def _overview(columns: Sequence[Column]) -> RenderableType:
    rows = range(len(columns[0].cells))
    is_paper = [any(column.cells[row] == "paper" for column in columns) for row in rows]
    styles = ["dim" if each else "" for each in is_paper]
    return drawn(
        columns,
        rows,
        styles=styles,
        title="all tasks · mean score",
    )


def _failures(lines: Sequence[Line]) -> list[RenderableType]:
    """Return a line a setting of which some runs did not end well, or have no score."""
    rows = [line.row for line in lines]
    said: list[RenderableType] = []
    for line in lines:
        total, counts = len(line.records), dict(line.failures)
        without = len(line.finished) - (line.score.count if line.score else 0)
        counts |= {"without a score": without} if without else {}
        if counts:
            rate = f" ρ={line.row['rho']:g}" if line.row["rho"] else ""
            name = f"{score_columns.name(line, rows)}{rate}"
            shares = [f"{n} of {total} {how.replace('_', ' ')}" for how, n in counts.items()]
            said.append(Text(f"{name}: {', '.join(shares)}", "red"))
    return said


def _caption(
    lines: Sequence[Line],
    columns: Sequence[Column],
    profile: Profile,
    environment: Environment,
    synthetic: str,
) -> list[str]:
    rows = [line.row for line in lines]
    headings = " ".join(column.heading for column in columns)
    subjects = ["training", *(["memory"] if "peak" in headings else [])]
    where = provenance(rows, environment, synthetic, subjects)
    said = [place(rows[0], shared(rows, [name for name in CELL if name not in ("dtype", "seed")]))]
    said.append(" ".join(filter(None, [where, threads_note(lines)])))
    said += _method(lines, headings)
    if "paper" in headings:
        said.append(
            f"The paper's numbers: {published.sources(profile)}; of its own hardware and weights."
        )
    return [line for line in said if line]


def _method(lines: Sequence[Line], headings: str) -> list[str]:
    """Return how the numbers in the columns came about."""
    several = any(len(line.records) > 1 for line in lines)
    score = "Score: after the last step"
    said = [f"{score}, mean ± standard deviation over seeds." if several else f"{score}, one seed."]
    if "difference" in headings:
        said.append(
            f"Difference: from {EXACT}, paired over seeds, with its 95 % confidence interval."
        )
    if "chance" in headings:
        said.append(
            "More than chance (*): paired t-test, p below 0.05 when adjusted over all settings "
            "of a task (Benjamini and Hochberg)."
        )
    if "time" in headings:
        said.append(
            f"Time: of a run's steps, mean; relative throughput: {EXACT}'s time ÷ the setting's, "
            "median over seeds."
        )
    if any(line.failures for line in lines):
        said.append("Runs that did not end well are in no number.")
    return [" ".join(said)]
