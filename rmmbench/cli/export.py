"""`rmmbench export`: a run's records as a table for other programs, one row a case."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli.streams import write_data
from rmmbench.errors import RunError, UnknownNameError, UsageError

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "json", "markdown", "parquet")
FIRST = [
    *("model", "device", "task", "batch_size", "seq_len", "dtype", "method", "sketch", "rho"),
    *("outcome", "peak_allocated_bytes", "saved_bytes", "samples_per_second"),
    "relative_throughput",
]


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory that sweep wrote.")],
    file_format: Annotated[
        str, typer.Option("--format", metavar="csv|json|markdown|parquet", help="What to write.")
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A file; stdout if not given.")
    ] = None,
) -> None:
    """Write a run's records as a table, one row a case, in SI units.

    A number that is missing is empty, or null.

    Examples:
      rmmbench export runs/quick-auto > quick.csv
      rmmbench export runs/quick-auto --format parquet --out quick.parquet
    """
    from rmmbench.store import Run, frame

    if file_format not in FORMATS:
        raise UnknownNameError("format", file_format, FORMATS)
    if file_format == "parquet" and out is None:
        raise UsageError("--format parquet is not text and needs a file; give --out")
    table = frame(Run.open(run).records())
    if table.empty:
        raise RunError(f"{run} must have records to export, and has none; run its sweep first")
    table = table[[*FIRST, *(name for name in table.columns if name not in FIRST)]]
    content = _content(_plain(table), file_format)
    if out is None:
        write_data(content.decode())
    else:
        _write(out, content)


def _plain(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table with its one column of lists as text, such as "none" or "sw_power_cap"."""
    import pandas as pd

    lists = table["throttle_reasons"]
    reasons = [None if value is None else ";".join(value) or "none" for value in lists]
    return table.assign(throttle_reasons=pd.array(reasons, dtype="string"))


def _content(table: "pd.DataFrame", file_format: str) -> bytes:
    if file_format == "parquet":
        return _parquet(table)
    if file_format == "csv":
        return _inert(table).to_csv(index=False, lineterminator="\n").encode()
    return (_json(table) if file_format == "json" else _markdown(table)).encode()


def _inert(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table with "'" before each text that a spreadsheet would take for a formula."""
    texts = [str(name) for name in table.columns if table[name].dtype == "string"]
    formula = "^(?=[=+@-])"
    return table.assign(**{n: table[n].str.replace(formula, "'", regex=True) for n in texts})


def _parquet(table: "pd.DataFrame") -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    try:
        table.to_parquet(buffer, engine="pyarrow", index=False)
    except ImportError:
        hint = "pip install 'rmmbench[parquet]'"
        raise UsageError(f"--format parquet needs the package pyarrow; {hint}") from None
    return buffer.getvalue()


def _json(table: "pd.DataFrame") -> str:
    import json

    from rmmbench.rows import plain_rows

    rows = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in plain_rows(table)]
    return "[\n  " + ",\n  ".join(rows) + "\n]\n"


def _markdown(table: "pd.DataFrame") -> str:
    from rmmbench.check.markdown import escaped
    from rmmbench.rows import plain_rows

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |\n"

    columns = [str(name) for name in table.columns]
    text = line(columns) + line(["---"] * len(columns))
    for row in plain_rows(table):
        text += line(["" if value is None else escaped(str(value)) for value in row.values()])
    return text


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"--out {path} cannot be written: {error.strerror}") from error
