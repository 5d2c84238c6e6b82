"""Memory over time: live bytes through one training step, and through the steps of an epoch."""

from typing import Annotated, Any, Final, Literal

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
"""What bytes are used for; all others, including the batch, are "temporary"."""

Part = Category | Literal["gathered", "reducing"]
PARTS: Final[tuple[Part, ...]] = (*CATEGORIES, "gathered", "reducing")
"""The same of a step that is spread over ranks: parameters that were gathered from all of them, and
gradients on the way to them."""


def peak_columns(at_peak: Any) -> dict[str, object]:
    """Return columns of what was live at a peak; each is None if that is not known."""
    known = at_peak is not None
    return {f"{part}_at_peak_bytes": at_peak.get(part, 0) if known else None for part in PARTS}


Phase = Literal["forward", "backward", "optimizer"]
PHASES: Final[tuple[Phase, ...]] = ("forward", "backward", "optimizer")

_Sizes = Annotated[tuple[Whole, ...], Field(min_length=len(CATEGORIES), max_length=len(CATEGORIES))]


class TimePoint(Strict):
    """One moment of a training step.

    Attributes:
        time: Operators run since the step began; nothing is seen between two operators.
        phase: One of `PHASES`.
        live_bytes: Bytes by category, in the order of `CATEGORIES`.
        allocated_bytes: The caching allocator's bytes at the same moment; None without such an
            allocator, and inside a sketch.
    """

    time: Whole
    phase: Phase
    live_bytes: _Sizes
    allocated_bytes: Whole | None = None

    @property
    def total_bytes(self) -> int:
        """The sum of the live bytes."""
        return sum(self.live_bytes)


class StepPeak(Strict):
    """The memory of one step of an epoch.

    Attributes:
        step: The step's number from 1; before the first there is no optimizer state.
        rows: Tokens or samples of the batch, padding included.
        peak_bytes: The highest sum of live bytes during the step.
        at_peak_bytes: That sum by category.
        resting_bytes: Live bytes after the step.
    """

    step: Whole
    rows: Whole
    peak_bytes: Whole
    at_peak_bytes: _Sizes
    resting_bytes: Whole


class Timeline(Strict):
    """Live bytes over time, counted when operators make tensors and when their storage is freed.

    Attributes:
        device: Where the tensors were; "predict" for fake tensors.
        operators: Operators in the whole step.
        points: Moments of one step after a warm-up, in order; the highest is among them.
        epoch: The first steps of an epoch.
        snapshot: The allocator's file in the run directory; None if there is none.
    """

    device: Literal["cuda", "cpu", "predict"]
    operators: Whole
    points: tuple[TimePoint, ...] = Field(min_length=1)
    epoch: tuple[StepPeak, ...]
    snapshot: Line | None = None

    @property
    def highest(self) -> TimePoint:
        """The point with the most live bytes."""
        return max(self.points, key=lambda point: point.total_bytes)
