"""All settings of methods and sketches by name, for columns of rows, keys of grids and labels."""

from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

from rmmbench.registry import open_set
from rmmbench.spec.settings import Setting
from rmmbench.spec.steps import Of, chosen_of, settings_class


class Known(NamedTuple):
    """One setting.

    Attributes:
        said: Its declaration.
        field: Its type and default, from its first owner.
        owners: The methods or sketches that have it.
    """

    said: Setting
    field: FieldInfo
    owners: tuple[str, ...]

    @property
    def absent(self) -> Any:
        """The value in rows of methods without the setting."""
        return None if self.said.varies else self.field.default


def known() -> Mapping[str, Known]:
    """Return all settings in the order of the registries, those that vary first."""
    return _known(tuple(open_set("methods").names()), tuple(open_set("sketches").names()))


@lru_cache(maxsize=8)
def _known(*_: tuple[str, ...]) -> dict[str, Known]:
    found: dict[str, Known] = {}
    _look(Of("methods"), found)
    return dict(sorted(found.items(), key=lambda item: not item[1].said.varies))


def _look(of: Of, found: dict[str, Known]) -> None:
    for owner in open_set(of.folder).names():
        kind = settings_class(of.folder, owner)
        for name, said in kind.declared().items():
            field = kind.model_fields[name]
            is_new = name not in found
            before = Known(said, field, ()) if is_new else found[name]
            found[name] = before._replace(owners=(*before.owners, owner))
            inner = chosen_of(field)
            if inner is not None and is_new:
                _look(inner, found)


@lru_cache(maxsize=8)
def _absent(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: known()[name].absent for name in names}


def absent() -> dict[str, Any]:
    """Return the value of each setting in a row of the unchanged model."""
    return _absent(tuple(known()))


def choices() -> list[str]:
    """Return the names of the settings that labels show by `words`."""
    return [name for name, each in known().items() if each.said.words]


def amounts() -> list[str]:
    """Return the names of the settings that say how much is kept."""
    return [name for name, each in known().items() if each.said.amount]


def in_words(said: Mapping[str, Any], names: Container[str] | None = None) -> list[str]:
    """Return `choices` that are not the default as text for labels: "blocks of 128".

    Args:
        said: All settings by name, such as a row.
        names: The settings to show; None for all.
    """
    return [
        each.said.words.format(said[name])
        for name, each in known().items()
        if each.said.words and (names is None or name in names) and said[name] != each.absent
    ]


def stack_name(said: Mapping[str, Any]) -> str:
    """Return a stack of methods as text for labels, with rmm named by its sketch.

    Args:
        said: The method and all settings by name, such as a row.
    """
    is_whole = said["rho"] == 1 and said["bits"] is not None
    sketch = "no sketch" if is_whole else said["sketch"]
    return " + ".join(
        sketch or name if name == "rmm" else name for name in said["method"].split("+")
    )
