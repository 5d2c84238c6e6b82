"""Records of schema version 1, in which a case had its method and settings side by side.

They are read as what is written now: the case with steps, and the key that names such a case. What
a version 1 key was is still told, as run.json of that version names its cases by them.
"""

from collections.abc import Mapping
from typing import Any, Final

from rmmbench.spec.case import Case, digest
from rmmbench.spec.steps import values

SCHEMA_VERSION: Final = 2
READ: Final = (1, 2)
"""The versions that are read on."""

_FLAT: Final[dict[str, Any]] = {
    "method": "exact",
    "sketch": None,
    "rho": None,
    "proj_dim": None,
    "min_proj_dim": 1,
    "max_proj_dim": None,
    "block_rows": None,
    "bits": None,
    "group_size": None,
    "activation_bits": None,
    "budget": None,
    "include": (),
    "exclude": (),
    "where": "all",
    "share": True,
}
"""What a version 1 case had beside what a case has now; a setting of a later day is none of it."""

_UNTOLD: Final = (
    *("bits", "group_size", "activation_bits", "budget"),
    *("training", "timeline", "gradient_draws", "memory_limit_bytes"),
)
"""What version 1 left out of a key where it was null."""


def migrated(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a record of version 1 tells as one of version 2; others as they are.

    Raises:
        ValueError: If its case names a method or a setting that there is not.
    """
    if type(told.get("schema_version")) is not int or told["schema_version"] != 1:
        return told
    if "key" not in told or "case" not in told:
        return {**told, "schema_version": SCHEMA_VERSION}
    case = Case.model_validate(told["case"])
    return {**told, "schema_version": SCHEMA_VERSION, "case": case, "key": case.key}


def former_key(case: Case) -> str:
    """Return the key that version 1 gave to a case."""
    flat = _FLAT | {"method": case.method} | values(case.steps)
    said = case.model_dump(mode="json", exclude={"steps"}) | flat
    return digest({k: v for k, v in said.items() if v is not None or k not in _UNTOLD})
