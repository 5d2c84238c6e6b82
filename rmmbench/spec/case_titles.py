"""Titles of cases that stand beside one another, so that no two of them share one."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rmmbench.spec.case import Case


def case_titles(cases: Iterable[Case]) -> dict[str, str]:
    """Return the title of each case by its key; those of one title say in what they differ.

    What they differ in stands behind it: "mlp 64 exact dtype=bfloat16". A field that has no value
    is left out.
    """
    by_key = {case.key: case for case in cases}
    alike: dict[str, list[str]] = {}
    for key, case in by_key.items():
        alike.setdefault(case.title, []).append(key)
    more: dict[str, str] = {}
    for keys in alike.values():
        if len(keys) > 1:
            more |= _differences({key: dict(_fields(by_key[key].flat())) for key in keys})
    return {key: f"{case.title} {more.get(key, '')}".strip() for key, case in by_key.items()}


def _fields(told: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every field of a case by its name, those of a part as "timing.warmup_steps"."""
    for name, value in told.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _differences(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return by key the fields in which the cases differ, in words."""
    names = dict.fromkeys(name for fields in cases.values() for name in fields)
    differing = [
        name for name in names if len({repr(fields.get(name)) for fields in cases.values()}) > 1
    ]
    return {
        key: " ".join(
            f"{name}={fields[name]}" for name in differing if fields.get(name) is not None
        )
        for key, fields in cases.items()
    }
