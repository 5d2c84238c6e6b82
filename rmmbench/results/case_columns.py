"""A case as columns of a flat row."""

from collections.abc import Mapping
from typing import Final

from rmmbench.spec.case import Case
from rmmbench.spec.strict import Strict


def case_row(case: Case) -> dict[str, object]:
    """Return the columns of a case: its fields, with the method and every setting for its steps."""
    row: dict[str, object] = {}
    for name in _CASE_COLUMNS:
        if name == "steps":
            row |= {"method": case.method, **case.settings}
        else:
            row[name] = getattr(case, name)
    return {name: _flat(value) for name, value in row.items()}


def _flat(value: object) -> object:
    """Return a value that a cell of a table can have."""
    if isinstance(value, tuple):
        return " ".join(value) or None
    return str(value) if isinstance(value, Strict) else value


_CASE_COLUMNS: Final = tuple(
    name for name in Case.model_fields if name not in ("timing", "training", "timeline")
)


def told_dtype(dtype: str, parameters: Mapping[str, int] | None) -> str:
    """Return what a model computes in: the dtype asked for, or the parameters' where they differ.

    Args:
        dtype: "float32", or what autocast casts to.
        parameters: How many numbers they have of each dtype; None if that is not known.
    """
    if not parameters or set(parameters) == {"float32"}:
        return dtype
    found = " and ".join(sorted(parameters, key=lambda name: -parameters[name]))
    is_cast = dtype != "float32" and not dtype.endswith("-true")
    cast = f", autocast to {dtype}" if is_cast else ""
    return f"{found} parameters{cast}"
