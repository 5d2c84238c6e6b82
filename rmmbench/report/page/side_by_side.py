"""Several runs on one page: what each is, what changed from the first, case by case."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rmmbench.errors import NotComparableError, RmmbenchError
from rmmbench.report.check import overview
from rmmbench.report.check.check_table import check_table
from rmmbench.report.check.comparable import differences
from rmmbench.report.check.compare import matched
from rmmbench.report.check.runs import compare_runs
from rmmbench.report.run_facts import counted
from rmmbench.report.tables.columns import per_second
from rmmbench.report.tables.table import Column, Table, build
from rmmbench.results.record import Record
from rmmbench.results.store import Run
from rmmbench.spec.case_titles import case_titles
from rmmbench.units import format_bytes, format_count


@dataclass(frozen=True)
class Comparison:
    """A run beside the first: the counts, or why the two cannot be compared, and what changed."""

    title: str
    said: str
    is_compared: bool
    table: Table | None = None
    remarks: tuple[str, ...] = ()


def run_names(runs: Sequence[Run]) -> list[str]:
    """Return the runs' names: the folders', or whole paths where two folders are called alike."""
    short = [run.path.resolve().name for run in runs]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else str(run.path) for name, run in zip(short, runs, strict=True)
    ]


def runs_table(runs: Sequence[Run], names: Sequence[str], records: Sequence[list[Record]]) -> Table:
    """Return a row a run: what it asked, when, where, at which commit, and how it went."""
    items = list(zip(names, runs, records, strict=True))

    def text(heading: str, value: Callable[[Run], Any]) -> Column[Any]:
        return Column(heading, heading, lambda item: value(item[1]) or None, is_number=False)

    def machine(run: Run) -> str:
        return run.info.environment.gpu or run.info.environment.processor

    def commit(run: Run) -> str:
        of = run.info.environment
        return f"{of.commit[:12]}{', with changes' if of.dirty else ''}" if of.commit else ""

    return build(
        items,
        [
            Column("run", "run", lambda item: item[0], is_number=False),
            text("profile", lambda run: run.info.profile_name),
            text("begun", lambda run: run.info.started_at[:16].replace("T", " ")),
            text("commit", commit),
            text("machine", machine),
            text("torch", lambda run: run.info.environment.torch),
            Column("cases", "cases", lambda item: len(item[2])),
            Column("outcomes", "came out", lambda item: counted(item[2]), is_number=False),
        ],
    )


def compared(runs: Sequence[Run], names: Sequence[str]) -> list[Comparison]:
    """Return each other run beside the first, judged as `rmmbench check` does."""
    found = []
    for run, name in zip(runs[1:], names[1:], strict=True):
        title = f"{name} against {names[0]}"
        try:
            report = compare_runs(runs[0], run)
        except NotComparableError:
            pairs = matched(runs[0].records(), run.records())
            why = "; ".join(map(str, differences(runs[0].info, run.info, pairs)))
            found.append(Comparison(title, f"Not compared: {why}.", is_compared=False))
            continue
        except RmmbenchError as error:
            found.append(Comparison(title, f"Not compared: {error}.", is_compared=False))
            continue
        table = check_table(report)
        said = f"{overview.summary(report)}."
        remarks = tuple(overview.remarks(report))
        found.append(Comparison(title, said, True, table if len(table) else None, remarks))
    return found


def together_answer(runs: Sequence[Run], found: Sequence[Comparison]) -> tuple[str, str]:
    """Return two sentences on some runs: whether they can be compared, and what changed."""
    several = format_count(len(runs), "run")
    able = [each for each in found if each.is_compared]
    if not able:
        return (
            f"These {several} cannot be compared; the reason stands below, pair by pair.",
            "Each stands below by itself, and no number of one is judged by another's.",
        )
    told = "; ".join(f"{each.title}, {each.said.rstrip('.')}" for each in able)
    rest = len(found) - len(able)
    more = (
        f"{format_count(rest, 'other run')} cannot be compared with it."
        if rest
        else "All of them measured the same cases."
    )
    return f"Of these {several}: {told}.", more


def cases_table(names: Sequence[str], records: Sequence[Sequence[Record]]) -> Table | None:
    """Return a row a case and a column a run and measure; None if no two runs share a case."""
    by_run = [{record.key: record for record in of} for of in records]
    titles = case_titles(record.case for of in records for record in of)
    if all(sum(key in of for of in by_run) < 2 for key in titles):
        return None
    rows = [{key: record.row() for key, record in of.items()} for of in by_run]
    columns: list[Column[str]] = [Column("case", "case", lambda key: titles[key], is_number=False)]
    measures: dict[str, tuple[str, Callable[[Any], str]]] = {
        "peak_allocated_bytes": ("peak memory", format_bytes),
        "relative_throughput": ("relative throughput", lambda value: f"{value:.3f}"),
        "samples_per_second": ("samples/s", per_second),
        "gradient_error": ("gradient error", lambda value: f"{value:.3g}"),
        "score": ("score", lambda value: f"{value:.4g}"),
    }
    for measure, (heading, write) in measures.items():
        columns += [
            _measured(measure, f"{heading}\n{name}", of, write)
            for name, of in zip(names, rows, strict=True)
        ]
    return build(list(titles), columns)


def _measured(
    measure: str,
    heading: str,
    rows: Mapping[str, Mapping[str, Any]],
    write: Callable[[Any], str],
) -> Column[str]:
    def value(key: str) -> Any:
        return rows[key][measure] if key in rows else None

    return Column(heading, heading, value, write)
