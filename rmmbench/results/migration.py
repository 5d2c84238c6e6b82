"""Reads records of schema version 1, in which a case had its method and settings side by side.

They are read as records of the current version: the case has steps and the key of such a case. The
version 1 key of a case can still be computed, since run.json of that version has the old keys.
"""

from collections.abc import Mapping
from typing import Any, Final

from rmmbench.spec.case import STEP, Case, digest
from rmmbench.spec.known_settings import absent
from rmmbench.spec.steps import values

SCHEMA_VERSION: Final = 2
READ: Final = (1, 2)
"""The versions that can be read."""

_FLAT: Final = {
    *("sketch", "rho", "proj_dim", "min_proj_dim", "max_proj_dim", "block_rows"),
    *("bits", "group_size", "activation_bits", "budget", "include", "exclude", "where", "share"),
}
"""The settings that every version 1 case had; a later setting counts only if it is given."""

_UNTOLD: Final = (
    *("bits", "group_size", "activation_bits", "budget"),
    *("training", "timeline", "gradient_draws", "memory_limit_bytes"),
)
"""The fields that version 1 left out of a key if they were null."""

_PROJECTION: Final = "projection"
"""The model name under which version 1 timed a sketch alone."""


def migrated(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the data of a version 1 record as version 2; other data is returned as it is.

    Raises:
        ValueError: If the case has an unknown method or setting.
    """
    if type(told.get("schema_version")) is not int or told["schema_version"] != 1:
        return told
    if "key" not in told or "case" not in told:
        return {**told, "schema_version": SCHEMA_VERSION}
    case = Case.model_validate(_with_projection(told["case"]))
    return {**told, "schema_version": SCHEMA_VERSION, "case": case, "key": case.key}


def former_key(case: Case) -> str:
    """Return the key that version 1 gave to a case."""
    given = {name for name, value in values(case.steps).items() if value != absent()[name]}
    later = absent().keys() - _FLAT - given | {*STEP, "gpu"}
    said = {name: value for name, value in case.flat().items() if name not in later}
    device = said.pop("projection_device")
    if device is not None:
        argument = case.model.partition(":")[1:]
        said |= {"model": "".join([_PROJECTION, *argument]), "time_device": device}
    return digest({k: v for k, v in said.items() if v is not None or k not in _UNTOLD})


def _with_projection(case: Any) -> Any:
    """Return a case's data with version 1's model "projection" as `projection_device`."""
    name, *argument = str(case.get("model") if isinstance(case, Mapping) else "").partition(":")
    if name != _PROJECTION:
        return case
    changes = {"model": "".join(["linear", *argument]), "time_device": None}
    return {**case, **changes, "projection_device": case.get("time_device")}
