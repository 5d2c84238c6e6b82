"""Help that reads well in a terminal of any width."""

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose help is wrapped anew, and whose flags have no type."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        """Take what Typer gives."""
        super().__init__(*args, **keywords)
        self.help = unwrapped(self.help or "")

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters."""
        return _without_types(super().get_params(ctx))


class Group(TyperGroup):
    """Commands, whose own flags have no type either."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters."""
        return _without_types(super().get_params(ctx))


def unwrapped(text: str) -> str:
    """Return a docstring with each paragraph in one line; lines that are indented stay."""
    return re.sub(r"(?<=[^\n])\n(?=[^\s])", " ", text.strip())


def _without_types(params: list[Any]) -> list[Any]:
    for each in params:
        if getattr(each, "is_flag", False) or getattr(each, "count", False):
            each.metavar = ""
    return params
