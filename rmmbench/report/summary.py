"""A run as one page of Markdown: the question, how it was measured, tables, and pictures."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rmmbench.errors import arguments_checked
from rmmbench.report.check.two_runs import opened
from rmmbench.report.figures import FIGURES, FigureData
from rmmbench.report.tables import Table, markdown, tables_of
from rmmbench.report.tables.batch_table import batch_table
from rmmbench.report.tables.counts_table import counts_tables
from rmmbench.report.tables.frontier_table import frontier_tables
from rmmbench.report.tables.noise_table import noise_tables
from rmmbench.report.tables.writers import escaped, markdown_row
from rmmbench.results.reading import content_of
from rmmbench.results.record import Environment, Record
from rmmbench.results.store import Run
from rmmbench.running.largest_batch import found
from rmmbench.units import format_bytes, format_count, format_seconds

PAGE, NOTES = "README.md", "notes.md"


class Page(str):
    """Markdown text that notebooks display as a page."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


@arguments_checked
def summary(run: Run | str | Path) -> Page:
    """Return a page about a run in Markdown, made from its records.

    The page includes `notes.md` and the PNG files of the run directory, if there are any.

    Args:
        run: What `load` or `run` returned, a path, or the name of a run that ships with rmmbench.

    Raises:
        RunError: If the run is not a run directory, or a record or the notes cannot be read.

    Examples:
        >>> import rmmbench
        >>> print(rmmbench.summary("table3-fast-predict").splitlines()[0])
        # The cells of Table 3, left, by the paper's own choice of layers and by ours
    """
    run = opened(run)
    records = run.records()
    said = (content_of(run.path / NOTES) or b"").decode(errors="replace").strip()
    parts = [
        f"# {escaped(run.info.profile.title)}\n\n{_MADE}",
        "\n".join(_how(run, records)),
        f"## Results\n\n{markdown(_tables(run, records)).strip()}",
        f"## What it shows\n\n{said}" if said else "",
        "\n".join(_warnings(records)),
        "\n\n".join(_pictures(run.path)),
    ]
    return Page("\n\n".join(filter(None, parts)) + "\n")


_MADE = (
    "<!-- Made from the records by `rmmbench summary RUN --write`. Change notes.md, not this. -->"
)


def _how(run: Run, records: Sequence[Record]) -> Iterator[str]:
    """Yield how the run was made, as lines of a table."""
    yield f"## How it was made\n\n```text\n{run.info.command}\n```\n"
    yield "| | |\n|---|---|"
    days = sorted({record.started_at[:10] for record in records})
    took = format_seconds(sum(record.wall_seconds for record in records))
    if days:
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        yield markdown_row(["when", f"{when}; the cases took {took} in all"])
    outcomes = Counter(record.outcome.replace("_", " ") for record in records)
    counted = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    yield markdown_row(["cases", counted or "none"])
    yield from (markdown_row(pair) for pair in _machine(run.info.environment))
    notes = ", ".join(dict.fromkeys(record.synthetic for record in records if record.synthetic))
    yield markdown_row(["synthetic", notes or "nothing"])


def _machine(of: Environment) -> Iterator[tuple[str, str]]:
    ram = f", {format_bytes(of.memory_bytes)} of memory" if of.memory_bytes else ""
    yield "machine", f"{of.processor}, {of.cpu_count} CPUs{ram}; {of.gpu or 'no GPU'}"
    names = ("rmmbench", "python", "torch", "transformers", "cuda", "driver", "triton")
    told = {name: getattr(of, name) for name in names}
    yield "versions", ", ".join(f"{name} {value}" for name, value in told.items() if value)
    if of.commit:
        yield "code", f"commit {of.commit[:12]}{', with changes' if of.dirty else ''}"


def _tables(run: Run, records: Sequence[Record]) -> list[Table]:
    """Return the tables that suit what the run asked."""
    if any(record.case.memory_limit_bytes is not None for record in records):
        return [_largest_batches(run, records)]
    asked = run.info.profile.figures
    data = FigureData.of_records(records, run.info.profile, run.info.environment)
    compared = frontier_tables(data) if "frontier" in asked else []
    shown = compared or list(tables_of(run).tables)
    shown += noise_tables(run) if "noise" in asked and not compared else []
    counted = counts_tables(data.step_rows, run.info.environment) if "counts" in asked else []
    return shown + counted


def _largest_batches(run: Run, records: Sequence[Record]) -> Table:
    probes = [record.case for record in records if record.case.memory_device is not None]
    # Searches start at different batches; a line is named by its case of one sample.
    ones = {
        case.key: case for case in (each.model_copy(update={"batch_size": 1}) for each in probes)
    }
    devices = [record.case.time_device for record in records if record.case.time_device]
    lines = found(records, ones.values(), devices[0] if devices else None)
    return batch_table(lines, run.info.environment)


def _warnings(records: Iterable[Record]) -> Iterator[str]:
    """Yield the warnings and failures of the records, one per line."""
    counts = Counter(warning for record in records for warning in record.warnings)
    ended = [
        each for each in records if each.outcome != "ok" and each.case.memory_limit_bytes is None
    ]
    if counts or ended:
        yield "## Warnings\n"
    for warning, count in counts.items():
        yield f"- {format_count(count, 'case')}: {escaped(warning)}"
    for record in ended:
        outcome = record.outcome.replace("_", " ")
        yield f"- {outcome}: {escaped(record.case.title)}: {escaped(record.reason or '')}"


def _pictures(folder: Path) -> Iterator[str]:
    summaries = FIGURES.summaries()
    for picture in sorted(folder.glob("*.png")):
        words = summaries.get(picture.stem, picture.stem)
        yield f"![{escaped(words)}]({picture.name})"
