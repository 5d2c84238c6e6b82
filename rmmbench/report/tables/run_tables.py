"""The tables of a run: of training runs, and of single steps."""

from collections.abc import Iterator
from dataclasses import dataclass

from rmmbench.report.scores import read_lines
from rmmbench.report.tables.counts_table import counts_tables
from rmmbench.report.tables.parts_table import parts_tables
from rmmbench.report.tables.score_table import score_tables
from rmmbench.report.tables.step_table import step_table
from rmmbench.report.tables.table import Table
from rmmbench.results.record import Record
from rmmbench.results.store import Run
from rmmbench.results.tidy import read_rows
from rmmbench.spec.case_titles import case_titles


@dataclass(frozen=True)
class RunTables:
    """The tables of a run; none if it has no records.

    Attributes:
        troubles: A line per case that failed.
        counts: The table of the counted work of single steps; none if it was not counted.
    """

    tables: tuple[Table, ...]
    troubles: tuple[str, ...]
    counts: tuple[Table, ...]


def tables_of(run: Run) -> RunTables:
    """Return the tables of a run, read in one pass that keeps only rows of single steps."""
    trained: dict[str, Record] = {}
    notes: dict[str, None] = {}
    troubles: dict[str, Record] = {}

    def steps() -> Iterator[Record]:
        for record in run.each_record():
            notes[record.synthetic] = None
            # If a case was measured again, its last record counts.
            troubles.pop(record.key, None)
            if record.outcome != "ok":
                troubles[record.key] = record
            if record.case.training is None:
                yield record
            else:
                trained[record.key] = record

    rows = read_rows(steps())
    about = (run.info.profile, run.info.environment, "; ".join(filter(None, notes)))
    tables = score_tables(read_lines(trained.values()), *about) if trained else []
    tables += [step_table(rows, *about), *parts_tables(rows)] if rows else []
    counts = counts_tables(rows, run.info.environment)
    titles = case_titles(record.case for record in troubles.values())
    told = [f"{each.outcome}: {titles[key]}: {each.reason}" for key, each in troubles.items()]
    return RunTables(tuple(tables), tuple(told), tuple(counts))
