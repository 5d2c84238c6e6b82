"""`rmmbench list`: the names that profiles and flags take."""

from importlib import import_module
from typing import Annotated

import typer

from rmmbench.cli.streams import write_json
from rmmbench.errors import UnknownNameError

_REGISTRIES = {
    "models": "rmmbench.models:MODELS",
    "sketches": "rmmbench.sketches:SKETCHES",
    "methods": "rmmbench.methods:METHODS",
    "tasks": "rmmbench.data:DATA",
    "claims": "rmmbench.claims:CLAIMS",
    "figures": "rmmbench.figures:FIGURES",
}
_KINDS = (*_REGISTRIES, "profiles")


def list_names(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(_KINDS)}.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """List the models, sketches, methods, tasks, claims, figures or profiles there are.

    Example: rmmbench list sketches
    """
    if kind not in _KINDS:
        raise UnknownNameError("kind", kind, _KINDS)
    summaries = _summaries(kind)
    if as_json:
        write_json(summaries)
        return
    width = max(map(len, summaries), default=0)
    for name, summary in summaries.items():
        typer.echo(f"{typer.style(name.ljust(width), bold=True)}  {summary}")


def _summaries(kind: str) -> dict[str, str]:
    """Return each name of a kind with its summary, without importing what is named."""
    if kind == "profiles":
        from rmmbench import profile

        return {name: profile.load(name).title for name in profile.names()}
    module, registry = _REGISTRIES[kind].split(":")
    summaries: dict[str, str] = getattr(import_module(module), registry).summaries()
    return summaries
