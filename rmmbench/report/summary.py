"""A run as one page of Markdown: the question, how it was measured, tables, and pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rmmbench.errors import arguments_checked
from rmmbench.report.check.two_runs import opened
from rmmbench.report.figures import FIGURES
from rmmbench.report.run_facts import ended, facts, suitable_tables, warnings_of
from rmmbench.report.tables import markdown
from rmmbench.report.tables.writers import escaped, markdown_row
from rmmbench.results.reading import content_of
from rmmbench.results.record import Record
from rmmbench.results.store import Run
from rmmbench.spec.case_titles import case_titles
from rmmbench.units import format_count

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
        f"## Results\n\n{markdown(suitable_tables(run, records)).strip()}",
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
    yield from (markdown_row(pair) for pair in facts(run, records))


def _warnings(records: Sequence[Record]) -> Iterator[str]:
    """Yield the warnings and failures of the records, one per line."""
    counts, failed = warnings_of(records), ended(records)
    if counts or failed:
        yield "## Warnings\n"
    for warning, count in counts.items():
        yield f"- {format_count(count, 'case')}: {escaped(warning)}"
    titles = case_titles(record.case for record in records)
    for record in failed:
        outcome = record.outcome.replace("_", " ")
        yield f"- {outcome}: {escaped(titles[record.key])}: {escaped(record.reason or '')}"


def _pictures(folder: Path) -> Iterator[str]:
    summaries = FIGURES.summaries()
    for picture in sorted(folder.glob("*.png")):
        words = summaries.get(picture.stem, picture.stem)
        yield f"![{escaped(words)}]({picture.name})"
