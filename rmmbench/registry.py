"""Registries of names: each entry is in a file of its own, imported when it is first used."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Generic, TypeVar, cast

from rmmbench.errors import UnknownNameError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One registered thing.

    Attributes:
        target: "module:attribute" of the thing, relative to the registry's package.
        summary: What `rmmbench list` prints beside the name.
        settings: "module:attribute" of the class of its settings, if it has any; importing that
            module must not need torch.
    """

    target: str
    summary: str
    settings: str = ""


class Registry(Generic[T]):
    """The entries of one folder by name.

    Names and summaries need no import, so commands can list and check them without torch.
    """

    def __init__(self, kind: str, package: str, entries: Mapping[str, Entry]) -> None:
        """Register the `entries` of `package`; messages call one of them a `kind`."""
        self.kind = kind
        self._package = package
        self._entries = dict(entries)
        self._loaded: dict[str, T] = {}

    def names(self) -> list[str]:
        """Return the registered names, in the order of registration."""
        return list(self._entries)

    def summaries(self) -> dict[str, str]:
        """Return each name's summary."""
        return {name: entry.summary for name, entry in self._entries.items()}

    def check(self, name: str) -> str:
        """Return `name` if it is registered.

        Raises:
            UnknownNameError: If it is not; the message has the nearest name and all names.
        """
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        return name

    def get(self, name: str) -> T:
        """Import and return the entry called `name`.

        Raises:
            UnknownNameError: If there is none.
        """
        if name not in self._loaded:
            self._loaded[name] = cast("T", self._resolve(self._entries[self.check(name)].target))
        return self._loaded[name]

    def settings(self, name: str) -> Any | None:
        """Import and return the class of an entry's settings; None if it has none.

        Raises:
            UnknownNameError: If there is no such entry.
        """
        target = self._entries[self.check(name)].settings
        return self._resolve(target) if target else None

    def _resolve(self, target: str) -> Any:
        module, attribute = target.split(":")
        return getattr(import_module(f"{self._package}.{module}"), attribute)

    def module(self, name: str) -> str:
        """Return the full name of the module that the entry called `name` is in."""
        return f"{self._package}.{self._entries[self.check(name)].target.split(':')[0]}"


@cache
def open_set(folder: str) -> "Registry[Any]":
    """Import and return the registry of a folder, such as "methods" or "report.figures".

    By this `spec` can name methods and sketches, which it must not import.
    """
    name = folder.rpartition(".")[2].upper()
    return cast("Registry[Any]", getattr(import_module(f"rmmbench.{folder}"), name))
