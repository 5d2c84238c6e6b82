"""Memory over time: live bytes through one training step, and through the steps of an epoch."""

from typing import Annotated, Final, Literal

from pydantic import Field

from rmmbench.spec.ranges import Line, Whole
from rmmbench.spec.strict import Strict

Category = Literal["parameters", "gradients", "optimizer", "activations", "sketches", "temporary"]
CATEGORIES: Final[tuple[Category, ...]] = (
    "parameters",
    "gradients",
    "optimizer",
    "activations",
    "sketches",
    "temporary",
)
"""What bytes are for; those of no other category are temporary, the batch too."""

Phase = Literal["forward", "backward", "optimizer"]
PHASES: Final[tuple[Phase, ...]] = ("forward", "backward", "optimizer")

_Sizes = Annotated[tuple[Whole, ...], Field(min_length=len(CATEGORIES), max_length=len(CATEGORIES))]


class TimePoint(Strict):
    """One moment of a training step.

    Attributes:
        time: Operators run since the step began; nothing between two of them is seen.
        phase: Of `PHASES`.
        live_bytes: By category of `CATEGORIES`, in that order.
        allocated_bytes: What the caching allocator says at the same moment; None without one, and
            in the middle of a sketch.
    """

    time: Whole
    phase: Phase
    live_bytes: _Sizes
    allocated_bytes: Whole | None = None

    @property
    def total_bytes(self) -> int:
        """The sum of live tensors."""
        return sum(self.live_bytes)


class StepPeak(Strict):
    """One step of an epoch.

    Attributes:
        step: From 1; the first has no optimizer state before it.
        rows: Tokens or samples of the batch, padding included.
        peak_bytes: Highest sum of live tensors during the step.
        at_peak_bytes: That sum by category.
        resting_bytes: Live after the step.
    """

    step: Whole
    rows: Whole
    peak_bytes: Whole
    at_peak_bytes: _Sizes
    resting_bytes: Whole


class Timeline(Strict):
    """Live bytes over time, counted as operators make tensors and as their last reference goes.

    Attributes:
        device: "predict" is of fake tensors; else of real ones there.
        operators: Of the whole step.
        points: Of one warmed-up step, in order; its highest is among them.
        epoch: Of the first steps of an epoch.
        snapshot: The file that the allocator wrote, in the run directory; None without.
    """

    device: Literal["cuda", "cpu", "predict"]
    operators: Whole
    points: tuple[TimePoint, ...] = Field(min_length=1)
    epoch: tuple[StepPeak, ...]
    snapshot: Line | None = None

    @property
    def highest(self) -> TimePoint:
        """The point of the step at which most is live."""
        return max(self.points, key=lambda point: point.total_bytes)
