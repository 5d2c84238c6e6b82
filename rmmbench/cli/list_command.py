"""`rmmbench list`: the names that profiles and flags take."""

from typing import Annotated, Literal, get_args

import typer

from rmmbench.cli.options import AsJson
from rmmbench.cli.streams import write_json

Kind = Literal["models", "sketches", "methods", "tasks", "gpus", "claims", "figures", "profiles"]


def list_names(
    kind: Annotated[
        Kind | None, typer.Argument(metavar="KIND", help="What to list; by default everything.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models, sketches, methods, tasks, GPUs, claims, figures or profiles there are.

    Options, profiles and Python take these names.

    Examples:
      rmmbench list
      rmmbench list sketches
    """
    from rmmbench.report.known_names import names

    summaries = {each: names(each) for each in ([kind] if kind else get_args(Kind))}
    if as_json:
        write_json(summaries[kind] if kind else summaries)
        return
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.table import Column, build

    columns: list[Column[tuple[str, str]]] = [
        Column("name", "", lambda item: item[0], is_number=False),
        Column("summary", "", lambda item: item[1], is_number=False),
    ]
    print_tables(
        [
            build(list(of.items()), columns, title="" if kind else name)
            for name, of in summaries.items()
        ]
    )
