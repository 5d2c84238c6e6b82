"""Rows as Parquet; the type of a column does not depend on what a run lacks."""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from rmmbench.errors import UsageError
from rmmbench.results.counts import COUNTS, Counts
from rmmbench.results.record import Conditions, Memory, Record
from rmmbench.results.timing import Timing
from rmmbench.results.trained import Training
from rmmbench.spec.case import Case
from rmmbench.spec.known_settings import known


def parquet(names: Sequence[str], table: Iterable[Sequence[Any]]) -> bytes:
    """Return the bytes of a Parquet file.

    Args:
        names: Of the columns.
        table: Rows of plain values.

    Raises:
        UsageError: If the package that writes it is not installed.
    """
    import pandas as pd

    untyped = pd.DataFrame(list(table), columns=list(names), dtype=object)
    buffer = io.BytesIO()
    try:
        untyped.astype({name: _type(name) for name in names}).to_parquet(
            buffer, engine="pyarrow", index=False
        )
    except ImportError:
        hint = "pip install 'rmmbench[parquet]'"
        raise UsageError(f"--format parquet needs the package pyarrow; {hint}") from None
    return buffer.getvalue()


_MODELS = (Training, Conditions, Timing, Memory, Counts, Record, Case)
_FRACTIONS = {"saving", "saved_bytes_saving", "gradient_error", "gradient_error_spread", "score"}
_FRACTIONS |= {"train_loss", "eval_loss", "train_seconds", "train_samples_per_second"}
_FRACTIONS |= {"noise_inflation", "effective_samples_per_second"}
_FRACTIONS |= {f"relative_{name}" for name in COUNTS}


def _type(column: str) -> str:
    """Return pandas' name for the type of a column, which is that of the field of its name."""
    if column in _FRACTIONS:
        return "Float64"
    if column == "train_steps":
        return "Int64"
    fields = [model.model_fields[column] for model in _MODELS if column in model.model_fields]
    fields += [known()[column].field] if column in known() else []
    kinds = set(_kinds(fields[-1].annotation)) if fields else {str}
    names = {bool: "boolean", int: "Int64", float: "Float64"}
    return names[kinds.pop()] if len(kinds) == 1 and kinds <= names.keys() else "string"


def _kinds(annotation: Any) -> Iterator[type]:
    """Yield the plain types that a field may have, except None."""
    if get_origin(annotation) is Literal:
        yield from map(type, get_args(annotation))
    elif arguments := get_args(annotation):
        # The other arguments of `Annotated` are constraints.
        is_annotated = hasattr(annotation, "__metadata__")
        for argument in arguments[:1] if is_annotated else arguments:
            yield from _kinds(argument)
    elif annotation is not type(None):
        yield annotation
