"""`rmmbench list`: the names that profiles and flags take."""

from enum import StrEnum
from importlib import import_module
from typing import Annotated

import typer

from rmmbench.cli.options import AsJson
from rmmbench.cli.streams import write_json

_REGISTRIES = {
    "models": "rmmbench.models:MODELS",
    "sketches": "rmmbench.sketches:SKETCHES",
    "methods": "rmmbench.methods:METHODS",
    "tasks": "rmmbench.data:DATA",
    "claims": "rmmbench.claims:CLAIMS",
    "figures": "rmmbench.report.figures:FIGURES",
}


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
    summaries = {each.value: _summaries(each) for each in ([kind] if kind else Kind)}
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


def _summaries(kind: Kind) -> dict[str, str]:
    """Return each name of a kind with its summary, without importing what is named."""
    if kind is Kind.PROFILES:
        from rmmbench.spec import profile

        return {name: profile.load(name).title for name in profile.names()}
    module, registry = _REGISTRIES[kind].split(":")
    summaries: dict[str, str] = getattr(import_module(module), registry).summaries()
    return summaries
