"""Steps: the methods of a stack in order, each with its own settings.

Methods and sketches are plug-ins, found by name in the registry of their folder.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from rmmbench.registry import open_set
from rmmbench.spec.printable import printable
from rmmbench.spec.settings import Settings
from rmmbench.spec.strict import shown


@dataclass(frozen=True)
class Step:
    """A method or sketch by name, with its settings."""

    name: str
    settings: Settings = Settings()  # noqa: RUF009 -- it is frozen


@dataclass(frozen=True)
class Of:
    """Annotates the type `Step` with its folder. In JSON a step is a name, or [name, settings].

    Settings with their default value are not written.
    """

    folder: str

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's schema to read and write such a step."""
        written = core_schema.plain_serializer_function_ser_schema(_written)
        return core_schema.no_info_plain_validator_function(self.read, serialization=written)

    def read(self, told: Any) -> Step:
        """Return a step from JSON.

        Raises:
            ValueError: If it is not a step, or the folder has nothing of that name.
        """
        if isinstance(told, Step):
            return told
        name, settings = told if isinstance(told, list | tuple) and len(told) == 2 else (told, {})
        if not isinstance(name, str):
            raise ValueError(f"must be a name, or a name and its settings, got {shown(told)}")
        kind = settings_class(self.folder, name)
        known = (name, kind, repr(settings))
        if known not in _READ:
            if len(_READ) >= _MOST_READ:
                _READ.clear()
            _READ[known] = Step(name, kind.model_validate(settings))
        return _READ[known]

    def taking(self, name: str, given: Mapping[str, Any]) -> Step:
        """Return the step called `name` with its settings among those given; None is the default.

        Raises:
            ValueError: If the folder has nothing of that name, or a setting is out of its range.
        """
        kind, own = settings_class(self.folder, name), {}
        for each, field in kind.model_fields.items():
            inner = chosen_of(field)
            if inner is not None:
                usual = field.get_default(call_default_factory=True, validated_data={}).name
                own[each] = inner.taking(given.get(each) or usual, given)
            elif given.get(each) is not None:
                own[each] = given[each]
        return Step(name, kind.model_validate(own))


_READ: Final[dict[tuple[str, type[Settings], str], Step]] = {}
"""Steps that were read; the cases of a long run share a few."""

_MOST_READ: Final = 10_000


def _written(step: Step) -> Any:
    settings = step.settings.model_dump(mode="json", exclude_defaults=True)
    return [step.name, settings] if settings else step.name


def settings_class(folder: str, name: str) -> type[Settings]:
    """Return the class of the settings of a method or sketch.

    Raises:
        UnknownNameError: A ValueError, if the folder has nothing of that name.
    """
    found: type[Settings] = open_set(folder).settings(printable(name, 100)) or Settings
    return found


def chosen_of(field: FieldInfo) -> Of | None:
    """Return the folder of a setting that chooses a method or sketch; None for other settings."""
    return next((each for each in field.metadata if isinstance(each, Of)), None)


def chosen(steps: Iterable[Step], folder: str) -> list[Step]:
    """Return what the settings of some steps choose from a folder, such as a stack's sketches."""
    found = []
    for step in steps:
        for name, field in type(step.settings).model_fields.items():
            inner = chosen_of(field)
            if inner is not None and inner.folder == folder:
                found.append(getattr(step.settings, name))
    return found


def values(steps: Iterable[Step]) -> dict[str, Any]:
    """Return all settings of some steps by name; a chosen sketch is its name and its settings.

    If several steps have a setting of one name, the last that is not None counts.
    """
    found: dict[str, Any] = {}
    for step in steps:
        for name, value in step.settings:
            if isinstance(value, Step):
                found |= {name: value.name} | values([value])
            elif value is not None or name not in found:
                found[name] = value
    return found
