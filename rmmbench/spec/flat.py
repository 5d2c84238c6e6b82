"""Makes steps from flat settings, which profiles and command lines have beside the method."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rmmbench.errors import did_you_mean
from rmmbench.spec.known_settings import known
from rmmbench.spec.printable import printable
from rmmbench.spec.steps import Of, Step, chosen, values

EXACT = "exact"


def steps_from(method: str, given: Mapping[str, Any]) -> tuple[Step, ...]:
    """Return the steps of a stack, each with its own settings from those given.

    Args:
        method: Names joined by "+"; "exact" has no steps.
        given: Settings by name; None and defaults may be given for any method.

    Raises:
        ValueError: If there is no such method, the stack has no such setting, or it is out of
            range.
    """
    names = [] if method == EXACT else method.split("+")
    steps = tuple(Of("methods").taking(name, given) for name in names)
    says_more = {name for name, value in given.items() if _says(name, value)}
    unused = says_more - values(steps).keys()
    if unused:
        raise ValueError(misplaced(min(unused), f"the case has {_used(steps)}"))
    return steps


def unflattened(told: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """Return the data of a case with its method and settings as `steps`.

    Args:
        told: The flat data: `method`, settings, and other fields of the case.
        fields: The names of those other fields.

    Raises:
        ValueError: If a name is unknown, or a setting is invalid.
    """
    names = ["method", *known()]
    unknown = [name for name in told if name not in fields and name not in names]
    if unknown:
        hint = did_you_mean(unknown[0], [*fields, *names])
        raise ValueError(f"unknown setting '{printable(unknown[0], 100)}'{hint}")
    rest = {name: value for name, value in told.items() if name in fields}
    given = {name: told[name] for name in known() if name in told}
    return rest | {"steps": steps_from(told.get("method") or EXACT, given)}


def misplaced(name: str, found: str) -> str:
    """Return a message about a setting that no method takes; `found` says what there is."""
    owners = ", ".join(known()[name].owners)
    return f"{name} must not be given: it is a setting of {owners}, and {found}"


def _used(steps: Sequence[Step]) -> str:
    names = [step.name for step in steps]
    return ", ".join([*names, *(each.name for each in chosen(steps, "sketches"))]) or EXACT


def _says(name: str, value: Any) -> bool:
    usual = known()[name].absent
    # A file has no tuples.
    return value is not None and (list(value) if _is_many(value) else value) != (
        list(usual) if _is_many(usual) else usual
    )


def _is_many(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)
