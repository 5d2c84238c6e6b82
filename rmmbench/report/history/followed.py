"""The numbers that a history follows: where each comes from, and what must not change with it."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from rmmbench.report.check.calibration import measured
from rmmbench.results.counts import COUNTS
from rmmbench.results.record import Record
from rmmbench.results.tidy import Row

Section = Literal["record", "memory", "counts", "timing", "gradient", "training"]

NUMBERS: Final[Mapping[str, Section]] = {
    "outcome": "record",
    **dict.fromkeys(("peak_allocated_bytes", "reserved_bytes", "saved_bytes"), "memory"),
    **dict.fromkeys(COUNTS, "counts"),
    "converted": "record",
    **dict.fromkeys(("relative_throughput", "product_ratio", "samples_per_second"), "timing"),
    **dict.fromkeys(("gradient_error", "noise_inflation"), "gradient"),
    **dict.fromkeys(("score", "eval_loss", "train_samples_per_second"), "training"),
}
"""Each number by its column in a row, with the part of a record that has it."""

PLACE: Final = ("torch", "profile", "gpu", "processor", "threads")
"""What numbers of one series share; `rmmbench check` refuses to compare what differs in one."""


def value_of(name: str, record: Record, row: Row) -> float | str | None:
    """Return a record's number; None if it has none, or always the same by definition."""
    if name == "converted":
        return record.converted if record.case.steps else None
    if name == "relative_throughput" and measured(record.timing) is None:
        return None
    found: float | str | None = row[name]
    return found


def is_exact(name: str, record: Record) -> bool:
    """Return whether the same code gives the same number: counts, and what is predicted."""
    section = NUMBERS[name]
    if section == "memory":
        return record.memory is not None and record.memory.device == "predict"
    return section in ("record", "counts")


def place_of(name: str, record: Record, profile: str) -> dict[str, str]:
    """Return what two records must share for their numbers to be compared.

    The GPU counts for what it held or timed, the processor and its threads for times on a CPU, as
    for `rmmbench check`. Builds of one torch version count as the same.

    Args:
        name: Of `NUMBERS`.
        record: Its record.
        profile: Names the profile, and all of its cases.
    """
    of, devices = record.environment, _devices(NUMBERS[name], record)
    found = {"torch": of.torch.partition("+")[0], "profile": profile}
    if "cuda" in devices:
        found["gpu"] = of.gpu or "none"
    if "cpu" in devices and NUMBERS[name] in ("timing", "training"):
        found |= {"processor": of.processor, "threads": str(of.torch_threads)}
    return found


def measurement(name: str, record: Record) -> object:
    """Return what tells a measurement from its repetition: records may be written twice."""
    timing, training = record.timing, record.training
    if NUMBERS[name] == "timing" and timing is not None:
        return timing.step_seconds
    if NUMBERS[name] == "training" and training is not None:
        return training.train_seconds, training.score
    return record.started_at, record.wall_seconds


def also_changed(name: str, before: Record, now: Record) -> tuple[str, ...]:
    """Return what of the environment changed between two records, and may have moved a number.

    What is predicted and counted depends on software alone.
    """
    changes: list[tuple[str, Any, Any]] = before.environment.changes(now.environment)
    if is_exact(name, before) and is_exact(name, now):
        changes = [change for change in changes if change[0] in _SOFTWARE]
    return tuple(f"{name} {old or 'none'} → {new or 'none'}" for name, old, new in changes)


_SOFTWARE: Final = {"rmmbench", "python", "torch", "torch_build", "transformers", "triton"}


def _devices(section: Section, record: Record) -> set[str]:
    part: Any = getattr(record, section, None) if section not in ("record", "counts") else None
    if part is not None:
        return {part.device}
    return {record.case.device} if section == "record" and "cuda" in record.case.device else set()
