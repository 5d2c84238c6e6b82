"""`rmmbench history`: the commits at which memory, speed or scores moved."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli import completing
from rmmbench.cli.check_command import MayDiffer
from rmmbench.cli.figure_files import chosen_format, figure_paths
from rmmbench.cli.options import AsJson, FigureFormats, Out, words
from rmmbench.cli.streams import write_data, write_file, write_json
from rmmbench.cli.telling import note, tell
from rmmbench.errors import UsageError

if TYPE_CHECKING:
    from rmmbench.report.history.over_commits import History

Runs = Annotated[
    Path,
    typer.Argument(
        metavar="RUNS",
        autocompletion=completing.baselines,
        help="A folder of run directories; or one run directory that git tracks.",
    ),
]
Numbers = Annotated[
    list[str] | None,
    typer.Option(
        "--number",
        metavar="NAME",
        help="Columns to follow, such as peak_allocated_bytes; by default all there are.",
    ),
]
Commits = Annotated[
    str | None,
    typer.Option(metavar="REVISION", help="Commits to walk: a branch, a tag, or FROM..TO."),
]
Allow = Annotated[
    list[MayDiffer] | None,
    typer.Option(
        metavar="|".join(MayDiffer), help="Go on with a series even if this differs; repeatable."
    ),
]
Every = Annotated[
    bool, typer.Option("--all", help="Show every number over its runs, not only those that moved.")
]
Fail = Annotated[
    bool,
    typer.Option("--fail", help="Exit with 3 if a number newly got worse: by the last commit."),
]


def history(
    runs: Runs,
    number: Numbers = None,
    commits: Commits = None,
    allow: Allow = None,
    every: Every = False,
    fail: Fail = False,
    file_format: FigureFormats = None,
    out: Out = None,
    markdown: Annotated[
        str | None, typer.Option(metavar="PATH", help="Write Markdown; - is stdout.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell of each case and number the first commit at which it moved, and how sure that is.

    What is predicted or counted moved if it differs at all: "exact". Times and scores differ from
    run to run; of those a move is told if it is beyond chance: about one in a hundred histories of
    unchanged code shows any. Runs with another torch, profile or machine begin a new series.

    With --out or --format it draws the numbers over commits too.

    Examples:
      rmmbench history runs
      rmmbench history baselines/main --commits v1.0..main
      rmmbench history baselines/main --fail
      rmmbench history runs --number relative_throughput --all --format png
    """
    from rmmbench.report.history.over_commits import history as read

    if as_json and markdown == "-":
        raise UsageError("only one of --markdown - and --json can have stdout")
    chosen = chosen_format(file_format, out)
    found = read(runs, numbers=words(number) or None, commits=commits, allow=allow or ())
    paths: dict[str, Path] = {}
    if file_format or out:
        from rmmbench.report import figures
        from rmmbench.report.figures._history_panels import draw_history

        paths = figure_paths(["history"], chosen, [runs], out)
        figures.write({paths["history"]: draw_history(found)}, chosen)
    if markdown is not None:
        _write_markdown(found, markdown)
    if as_json:
        figure_names = {name: str(path) for name, path in paths.items()}
        write_json(found.data() | {"figures": figure_names})
    elif markdown != "-":
        _show(found, every=every)
    if paths:
        note(f"figure: {paths['history']}")
    if fail and found.exit_code:
        tell(f"error: {found.failure}")
        raise typer.Exit(found.exit_code)


def _write_markdown(history: "History", path: str) -> None:
    from rmmbench.report.tables.history_table import moves_table
    from rmmbench.report.tables.writers import markdown

    content = [f"### rmmbench history\n\n{markdown([moves_table(history)])}".encode()]
    if path == "-":
        write_data(content)
    else:
        write_file(Path(path), content, "--markdown")


def _show(history: "History", *, every: bool) -> None:
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.history_table import moves_table, series_table

    moves = moves_table(history)
    tables = [series_table(history)] if every else []
    print_tables([*tables, moves])
