"""How long and how often is measured: what a profile says of timing, training and timelines."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rmmbench.spec.ranges import Count, Duration, Flag, Name, NotNegative, Positive, Rho
from rmmbench.spec.strict import Strict


class TimingSettings(Strict):
    """How long to time: until it is told well enough, but no more than max_seconds or max_steps.

    Attributes:
        warmup_steps: Steps before the first that counts.
        min_steps: Fewest timed steps, however long they take.
        max_steps: Most timed steps.
        max_seconds: Timing stops here once `min_steps` are done.
        target_spread: The standard error of relative throughput to reach, as a fraction of it; of
            steps that are timed alone, that of the median step. Its 95 % interval reaches about
            twice as far to either side. How many steps that takes is told once, from the first half
            of `min_steps`, or of six if that is more.
    """

    warmup_steps: Count = 2
    min_steps: Count = 7
    max_steps: Count = 50
    max_seconds: Duration = 20.0
    target_spread: Positive = 0.01

    @model_validator(mode="after")
    def _ordered(self) -> "TimingSettings":
        if self.max_steps < self.min_steps:
            raise ValueError(
                f"max_steps must be at least min_steps ({self.min_steps}), got {self.max_steps}"
            )
        return self


class TrainingSettings(Strict):
    """How a model is trained: the case's optimizer, batch size and dtype, and these.

    Attributes:
        max_steps: Optimizer steps; None for whole epochs.
        epochs: Passes over the training set, where max_steps is None.
        learning_rate: At its highest.
        schedule: How it falls after the warm-up.
        warmup_ratio: Fraction of the steps in which it rises from 0.
        weight_decay: Of adamw.
        beta2, epsilon: Of adam and adamw.
        max_grad_norm: Gradients are clipped to this norm; 0 leaves them.
        log_every: Steps from one point of the training loss to the next.
        eval_every: Steps from one evaluation to the next; None for one an epoch.
        watch: Patterns of the layers whose gradient noise is gathered, by qualified name.
        watch_every: Steps from one gathering to the next.
        watch_rho: The ρ at which noise is told where the layer is exact.
        draw_rho: The ρ at which every sketch is drawn at the last step, for the first such layer.
        draws: How often.
        threads: CPU threads of a run; as many runs as fit go side by side.
        data: A local directory with the task's data; None for what comes along, or the hub.
        checkpoint: Pretrained weights and their tokenizer, a name or a directory; None for random
            weights.
    """

    max_steps: Count | None = None
    epochs: Positive = 3.0
    learning_rate: Positive = 1e-4
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.06
    weight_decay: NotNegative = 0.0
    beta2: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.999
    epsilon: Positive = 1e-8
    max_grad_norm: NotNegative = 0.0
    log_every: Count = 10
    eval_every: Count | None = None
    watch: tuple[Name, ...] = ()
    watch_every: Count = 10
    watch_rho: Rho = 0.5
    draw_rho: tuple[Rho, ...] = ()
    draws: Count = 200
    threads: Count = 1
    data: Name | None = None
    checkpoint: Name | None = None


class TimelineSettings(Strict):
    """What of memory over time is followed.

    Attributes:
        epoch_steps: How many steps of an epoch are followed by their peaks, the first one cold.
        max_points: Most points that are kept of the one step that is followed throughout.
        snapshot: Whether a GPU's allocator writes what PyTorch's memory viewer opens.
    """

    epoch_steps: Annotated[Count, Field(ge=2)] = 8
    max_points: Annotated[Count, Field(ge=10)] = 400
    snapshot: Flag = False
