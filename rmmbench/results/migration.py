"""Records of schema version 1, in which a case had its method and settings side by side.

They are read as what is written now: the case with steps, and the key that names such a case. What
a version 1 key was is still told, as run.json of that version names its cases by them.
"""

from collections.abc import Mapping
from typing import Any, Final

from rmmbench.spec.case import STEP, Case, digest
from rmmbench.spec.known_settings import absent
from rmmbench.spec.steps import values

SCHEMA_VERSION: Final = 2
READ: Final = (1, 2)
"""The versions that are read on."""

_FLAT: Final = {
    *("sketch", "rho", "proj_dim", "min_proj_dim", "max_proj_dim", "block_rows"),
    *("bits", "group_size", "activation_bits", "budget", "include", "exclude", "where", "share"),
}
"""The settings that every version 1 case had; one of a later day counts only where it is given."""

_UNTOLD: Final = (
    *("bits", "group_size", "activation_bits", "budget"),
    *("training", "timeline", "gradient_draws", "memory_limit_bytes"),
)
"""What version 1 left out of a key where it was null."""


_PROJECTION: Final = "projection"
"""The model that a sketch alone was timed as."""


def migrated(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a record of version 1 tells as one of version 2; others as they are.

    Raises:
        ValueError: If its case names a method or a setting that there is not.
    """
    if type(told.get("schema_version")) is not int or told["schema_version"] != 1:
        return told
    if "key" not in told or "case" not in told:
        return {**told, "schema_version": SCHEMA_VERSION}
    case = Case.model_validate(_with_projection(told["case"]))
    return {**told, "schema_version": SCHEMA_VERSION, "case": case, "key": case.key}


def former_key(case: Case) -> str:
    """Return the key that version 1 gave to a case."""
    later = absent().keys() - _FLAT - values(case.steps).keys() | {*STEP, "gpu"}
    said = {name: value for name, value in case.flat().items() if name not in later}
    device = said.pop("projection_device")
    if device is not None:
        argument = case.model.partition(":")[1:]
        said |= {"model": "".join([_PROJECTION, *argument]), "time_device": device}
    return digest({k: v for k, v in said.items() if v is not None or k not in _UNTOLD})


def _with_projection(case: Any) -> Any:
    """Return what is told of a case, with the measure that version 1 had as a model."""
    name, *argument = str(case.get("model") if isinstance(case, Mapping) else "").partition(":")
    if name != _PROJECTION:
        return case
    changes = {"model": "".join(["linear", *argument]), "time_device": None}
    return {**case, **changes, "projection_device": case.get("time_device")}
