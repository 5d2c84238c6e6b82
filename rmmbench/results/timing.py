"""Raw times of steps, and the throughput computed from them."""

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from rmmbench.results import paired
from rmmbench.spec.ranges import Measured, Ratio
from rmmbench.spec.strict import Strict


class Timing(Strict):
    """Raw times of whole training steps, the method's and exact's taken in turn in one process.

    Medians of pairs and intervals are computed again whenever a record is read, so they are
    comparable whichever version wrote the records.

    Attributes:
        step_seconds: The method's steps.
        reference_step_seconds: Exact's steps, one per step of the method; empty if exact took no
            turns.
        samples_per_second: batch_size ÷ the median of `step_seconds`.
        samples_per_second_low, samples_per_second_high: Its 95 % interval; None for one step.
        relative_throughput: The median over pairs of exact's time ÷ the method's; 1 for exact, None
            if exact took no turns.
        relative_throughput_low, relative_throughput_high: Its 95 % interval; None for fewer than
            two pairs.
    """

    device: Literal["cuda", "cpu"]
    step_seconds: tuple[Measured, ...] = Field(min_length=1)
    reference_step_seconds: tuple[Measured, ...] = ()
    samples_per_second: Measured
    samples_per_second_low: Ratio | None = None
    samples_per_second_high: Ratio | None = None
    relative_throughput: Ratio | None = None
    relative_throughput_low: Ratio | None = None
    relative_throughput_high: Ratio | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_spread(cls, told: Any) -> Any:
        """Drop the standard error of older records, which was too small; intervals replace it."""
        if isinstance(told, dict) and "spread" in told:
            return {name: value for name, value in told.items() if name != "spread"}
        return told

    @model_validator(mode="after")
    def _computed(self) -> "Timing":
        """Set the numbers that follow from the raw times."""
        pairs, steps = len(self.reference_step_seconds), len(self.step_seconds)
        if pairs not in (0, steps):
            need = f"must be as many as step_seconds ({steps}), or none"
            raise ValueError(f"reference_step_seconds {need}, got {pairs}")
        if not pairs and self.relative_throughput not in (None, 1):
            need = "must be 1, of exact, or null where exact took no turns"
            raise ValueError(f"relative_throughput {need}, got {self.relative_throughput:g}")
        rate, step = self.samples_per_second, paired.median(self.step_seconds)
        ratio = paired.relative_throughput(self.reference_step_seconds, self.step_seconds)
        found = {
            "samples_per_second_low": step.high and rate * step.value / step.high,
            "samples_per_second_high": step.low and rate * step.value / step.low,
            "relative_throughput": ratio.value if ratio else self.relative_throughput,
            "relative_throughput_low": ratio.low if ratio else None,
            "relative_throughput_high": ratio.high if ratio else None,
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)  # the model is frozen
        return self

    @property
    def missing(self) -> dict[str, str]:
        """Why an interval is missing, by the names of its ends."""
        one = "an interval takes two or more {}, and there is one"
        pairs = one.format("pairs of steps") if self.reference_step_seconds else ""
        reasons = {
            "samples_per_second": one.format("steps"),
            "relative_throughput": pairs or "exact took no turns",
        }
        ends = {f"{name}_{end}": why for name, why in reasons.items() for end in ("low", "high")}
        return {name: why for name, why in ends.items() if getattr(self, name) is None}


TIMING_COLUMNS: Final = tuple(
    f"{name}{end}"
    for name in ("samples_per_second", "relative_throughput")
    for end in ("", "_low", "_high")
)
"""The columns that a row has of a timing."""
