"""`rmmbench export`: a run's records as a table for other programs, one row a case."""

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rmmbench.cli.options import Out, RunPath
from rmmbench.cli.streams import write_data, write_file
from rmmbench.errors import RunError, UsageError

if TYPE_CHECKING:
    from rmmbench.results.store import Run

FIRST = [
    *("model", "device", "task", "batch_size", "seq_len", "dtype", "method", "sketch", "rho"),
    *("outcome", "peak_allocated_bytes", "saved_bytes", "samples_per_second"),
    "relative_throughput",
]


Format = Literal["csv", "json", "markdown", "parquet", "github-action-benchmark", "bencher"]
Better = Annotated[
    Literal["smaller", "bigger"],
    typer.Option(help="Of --format github-action-benchmark: numbers of which those are better."),
]


def export(
    run: RunPath,
    file_format: Annotated[Format, typer.Option("--format", help="Format of the table.")] = "csv",
    better: Better = "smaller",
    out: Out = None,
) -> None:
    """Write a run's records as a table, one row a case, in SI units.

    The table goes to stdout, unless --out names a file. A missing number is empty, or null. In CSV
    an apostrophe precedes text that a spreadsheet would take for a formula.

    Two formats are for services that keep benchmarks over time: github-action-benchmark, whose file
    has numbers of one direction (--better smaller for its tool customSmallerIsBetter), and bencher,
    the Bencher Metric Format.

    Examples:
      rmmbench export runs/quick-auto > quick.csv
      rmmbench export runs/quick-auto --format parquet --out quick.parquet
      rmmbench export runs/quick-auto --format github-action-benchmark --out smaller.json
      rmmbench export runs/quick-auto --format bencher --out bencher.json
    """
    from rmmbench.results.store import Run
    from rmmbench.results.tidy import read_rows

    if file_format == "parquet" and out is None:
        raise UsageError("--format parquet is not text and needs a file; give --out")
    read = Run.open(run)
    if file_format in ("github-action-benchmark", "bencher"):
        _write([_for_service(read, file_format, better)], out)
        return
    rows = read_rows(read.each_record())
    _require(rows, run)
    names = [*FIRST, *(name for name in rows[0] if name not in FIRST)]
    table = ([_plain(row[name]) for name in names] for row in rows)
    if file_format == "parquet":
        from rmmbench.cli.parquet import parquet

        content: Iterable[bytes] = [parquet(names, table)]
    else:
        write = {"csv": _csv, "json": _json, "markdown": _markdown}[file_format]
        content = (text.encode() for text in write(names, table))
    _write(content, out)


def _require(records: Sequence[object], run: Path) -> None:
    if not records:
        raise RunError(f"{run} must have records to export, and has none; run its sweep first")


def _write(content: Iterable[bytes], out: Path | None) -> None:
    if out is None:
        write_data(content)
    else:
        write_file(out, content, "--out")


def _for_service(run: "Run", file_format: str, better: Literal["smaller", "bigger"]) -> bytes:
    from rmmbench.report.benchmark_formats import bencher, github_action_benchmark

    records = run.records()
    _require(records, run.path)
    found = (
        bencher(records) if file_format == "bencher" else github_action_benchmark(records, better)
    )
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _plain(value: Any) -> Any:
    """Return a value; a list becomes one text, such as "none" or "sw_power_cap;hw_slowdown"."""
    return (";".join(value) or "none") if isinstance(value, tuple) else value


def _csv(names: Sequence[str], table: Iterable[list[Any]]) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in itertools.chain([names], table):
        writer.writerow([_inert(value) for value in row])
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def _inert(value: Any) -> Any:
    """Return a value, with "'" before text that a spreadsheet would take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


_FORMULA = ("=", "+", "-", "@")


def _json(names: Sequence[str], table: Iterable[list[Any]]) -> Iterator[str]:
    before = "[\n  "
    for row in table:
        named = dict(zip(names, row, strict=True))
        yield before + json.dumps(named, ensure_ascii=False, allow_nan=False)
        before = ",\n  "
    yield "\n]\n"


def _markdown(names: Sequence[str], table: Iterable[list[Any]]) -> Iterator[str]:
    from rmmbench.report.tables.writers import markdown_row

    yield f"{markdown_row(names)}\n{markdown_row(['---'] * len(names))}\n"
    for row in table:
        yield markdown_row("" if value is None else str(value) for value in row) + "\n"
