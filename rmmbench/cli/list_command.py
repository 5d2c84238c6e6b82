"""`rmmbench list`: the names that profiles and flags take."""

from enum import StrEnum
from typing import Annotated

import typer

from rmmbench.cli.options import AsJson
from rmmbench.cli.streams import write_json


class Kind(StrEnum):
    """What names are of."""

    MODELS = "models"
    SKETCHES = "sketches"
    METHODS = "methods"
    TASKS = "tasks"
    CLAIMS = "claims"
    FIGURES = "figures"
    PROFILES = "profiles"


def list_names(
    kind: Annotated[
        Kind | None, typer.Argument(metavar="KIND", help="Of what; everything if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models, sketches, methods, tasks, claims, figures or profiles there are.

    Examples:
      rmmbench list
      rmmbench list sketches
    """
    from rmmbench.report.known_names import names

    summaries = {each.value: names(each.value) for each in ([kind] if kind else Kind)}
    if as_json:
        write_json(summaries[kind.value] if kind else summaries)
        return
    for name, of in summaries.items():
        if kind is None:
            typer.echo(typer.style(f"{name}:", bold=True))
        _print(of, indent="" if kind else "  ")


def _print(summaries: dict[str, str], indent: str) -> None:
    width = max(map(len, summaries), default=0)
    for name, summary in summaries.items():
        typer.echo(f"{indent}{typer.style(name.ljust(width), bold=True)}  {summary}")
