"""Settings side by side with their method, as profiles and command lines say them, made steps."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rmmbench.errors import did_you_mean
from rmmbench.spec.known_settings import known
from rmmbench.spec.printable import printable
from rmmbench.spec.steps import Of, Step, chosen, values

EXACT = "exact"


def steps_from(method: str, given: Mapping[str, Any]) -> tuple[Step, ...]:
    """Return the steps of a stack, each with those of the given settings that it has.

    Args:
        method: Names joined by "+"; "exact" is no step.
        given: By name; None, and what is as it would be without, says nothing.

    Raises:
        ValueError: If a name is no method's, a setting is none that the stack has, or out of range.
    """
    names = [] if method == EXACT else method.split("+")
    steps = tuple(Of("methods").taking(name, given) for name in names)
    says_more = {name for name, value in given.items() if _says(name, value)}
    unused = says_more - values(steps).keys()
    if unused:
        raise ValueError(misplaced(min(unused), f"the case has {_used(steps)}"))
    return steps


def unflattened(told: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """Return what is told of a case with its method and settings as steps.

    Args:
        told: Flat: `method`, settings, and other fields of the case.
        fields: The names of those other fields.

    Raises:
        ValueError: If it says what is neither, or not what a setting may be.
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
    """Return what to say of a setting that nothing takes; `found` says what there is instead."""
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
