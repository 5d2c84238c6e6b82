"""A run as JSON for services that keep benchmarks over time.

`github-action-benchmark` (github.com/benchmark-action/github-action-benchmark, README and
src/extract.ts) takes for its tools customSmallerIsBetter and customBiggerIsBetter an array of
objects with name, unit and value, and optionally range, a text such as "± 3", and extra, the text
of a tooltip. One file has one direction, and names must be unique and stay.

Bencher Metric Format (bencher.dev/docs/reference/bencher-metric-format) is an object of benchmarks
by name, at most 1024 characters, each an object of measures by slug, at most 64 characters, each
with a value and optionally lower_value and upper_value, and no unit. Its adapter is `json`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from rmmbench.errors import RunError
from rmmbench.report.check import wording
from rmmbench.report.check.directions import is_worse
from rmmbench.report.history import followed
from rmmbench.results.record import Record
from rmmbench.units import MIB

Better = Literal["smaller", "bigger"]

_UNITS: Final[Mapping[str, tuple[str, float]]] = {
    **dict.fromkeys(
        ("peak_allocated_bytes", "reserved_bytes", "saved_bytes", "moved_bytes"), ("MiB", 1 / MIB)
    ),
    "flops": ("GFLOP", 1e-9),
    "operator_calls": ("calls", 1),
    "converted": ("layers", 1),
    "relative_throughput": ("× exact", 1),
    "product_ratio": ("× product", 1),
    "samples_per_second": ("samples/s", 1),
    "train_samples_per_second": ("samples/s", 1),
    "gradient_error": ("‖Ĝ − G‖ ÷ ‖G‖", 1),
    "noise_inflation": ("× exact", 1),
    "eval_loss": ("loss", 1),
}
_MOST_NAME: Final = 1024


def github_action_benchmark(records: Iterable[Record], better: Better) -> list[dict[str, Any]]:
    """Return the numbers of which smaller ones, or bigger ones, are better.

    Raises:
        RunError: If there are none.
    """
    records = list(records)
    found = [
        _entry(case, record, what, value, row)
        for case, record, row in _named(records)
        for what, value in _numbers(record, row)
        if _is_bigger_better(what, record) == (better == "bigger")
    ]
    if not found:
        other = "smaller" if better == "bigger" else "bigger"
        raise RunError(f"no number of the run is better where it is {better}; try --better {other}")
    return found


def bencher(records: Iterable[Record]) -> dict[str, dict[str, dict[str, float]]]:
    """Return every number by case and measure, in SI units.

    Raises:
        RunError: If there are none.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for case, record, row in _named(list(records)):
        for what, value in _numbers(record, row):
            ends = {"lower_value": row.get(f"{what}_low"), "upper_value": row.get(f"{what}_high")}
            known = {name: end for name, end in ends.items() if end is not None}
            found.setdefault(case, {})[what.replace("_", "-")] = {"value": value, **known}
    if not found:
        raise RunError("no case of the run has a number to export; measure it again")
    return found


def _named(records: list[Record]) -> Iterator[tuple[str, Record, Mapping[str, Any]]]:
    """Yield each record with a name that no other has, and its row."""
    names = [wording.name(record.case) for record in records]
    for name, record in zip(names, records, strict=True):
        is_unique = names.count(name) == 1
        told = name if is_unique else f"{name[: _MOST_NAME - 20]} [{record.key}]"
        yield told[:_MOST_NAME], record, record.row()


def _numbers(record: Record, row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for what in followed.NUMBERS:
        value = followed.value_of(what, record, row)
        if value is not None and not isinstance(value, str):
            yield what, value


def _entry(
    case: str, record: Record, what: str, value: float, row: Mapping[str, Any]
) -> dict[str, Any]:
    unit, scale = _UNITS.get(what, (row["metric"] or "score", 1))
    entry = {"name": f"{case} · {wording.PROSE[what]}", "unit": unit, "value": value * scale}
    low, high = row.get(f"{what}_low"), row.get(f"{what}_high")
    if low is not None and high is not None:
        entry["range"] = f"± {(high - low) / 2 * scale:.4g}"
    of = record.environment
    where = of.gpu or of.processor
    source = "predicted" if followed.is_exact(what, record) else f"measured on {where}"
    entry["extra"] = f"{source}\ntorch {of.torch}, rmmbench {of.rmmbench}\n{record.key}"
    return entry


def _is_bigger_better(what: str, record: Record) -> bool:
    training = record.training if what == "score" else None
    higher = training.higher_is_better if training else None
    return is_worse(what, 2.0, 1.0, higher_is_better=higher)
