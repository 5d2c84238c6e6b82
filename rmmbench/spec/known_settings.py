"""Every setting that some method or sketch has, by name: columns of rows, keys of grids, words."""

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
        said: What is said of it.
        field: Its type and default, as the first that has it says them.
        owners: What has it: methods, or sketches.
    """

    said: Setting
    field: FieldInfo
    owners: tuple[str, ...]

    @property
    def absent(self) -> Any:
        """What a row has in its place where nothing has the setting."""
        return None if self.said.varies else self.field.default


def known() -> Mapping[str, Known]:
    """Return every setting: first those that vary, each in the order of the registries."""
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
    """Return what a row of the unchanged model has in each setting's column."""
    return _absent(tuple(known()))


def choices() -> list[str]:
    """Return the settings that have words of their own."""
    return [name for name, each in known().items() if each.said.words]


def amounts() -> list[str]:
    """Return the settings that say how much is kept."""
    return [name for name, each in known().items() if each.said.amount]


def in_words(said: Mapping[str, Any], names: Container[str] | None = None) -> list[str]:
    """Return `choices` as people write them: "blocks of 128"; nothing for what is the default.

    Args:
        said: The settings by name, all there are: a row will do.
        names: Those that are to be told; None for all.
    """
    return [
        each.said.words.format(said[name])
        for name, each in known().items()
        if each.said.words and (names is None or name in names) and said[name] != each.absent
    ]


def stack_name(method: str, sketch: str | None) -> str:
    """Return a stack of methods as people write it, rmm by its sketch: "oporp + quantize"."""
    return " + ".join(sketch or name if name == "rmm" else name for name in method.split("+"))
