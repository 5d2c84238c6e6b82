"""The settings of timing, training and timelines in a profile."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rmmbench.spec.ranges import Count, Duration, Flag, Name, NotNegative, Positive, Rho
from rmmbench.spec.strict import Strict


class TimingSettings(Strict):
    """How long to time steps: until the target is reached, or max_seconds or max_steps.

    Attributes:
        warmup_steps: Steps before the first timed step.
        min_steps: Fewest timed steps, however long they take.
        max_steps: Most timed steps.
        max_seconds: Timing ends after this time, once `min_steps` are done.
        target_spread: The target for the standard error of relative throughput, as a fraction of
            it; for steps that are timed alone, of the median step. The 95 % interval reaches about
            twice as far to either side. The number of steps is decided once, from the first half of
            `min_steps`, or of six if that is more.
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
    """How a model is trained, besides the case's optimizer, batch size and dtype.

    Attributes:
        max_steps: Optimizer steps; None for whole epochs.
        epochs: Passes over the training set if max_steps is None.
        learning_rate: The highest learning rate.
        schedule: How the learning rate falls after the warm-up.
        warmup_ratio: The fraction of steps in which the learning rate rises from 0.
        weight_decay: The weight decay of adamw.
        beta2, epsilon: Parameters of adam and adamw.
        max_grad_norm: Gradients are clipped to this norm; 0 for no clipping.
        log_every: Steps from one point of the training loss to the next.
        eval_every: Steps from one evaluation to the next; None for one per epoch.
        watch: Patterns of the qualified names of the layers whose gradient noise is measured.
        watch_every: Steps from one measurement of the noise to the next.
        watch_rho: The ρ for the noise of sketches in a layer that is exact.
        draw_rho: The ρ at which every sketch is drawn at the last step, for the first such layer.
        draws: How often each sketch is drawn.
        threads: CPU threads per run; as many runs as fit are trained at the same time.
        data: A local directory with the task's data; None for data that ships or is on the hub.
        checkpoint: Pretrained weights with their tokenizer, a name or a directory; None for random
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
    """How memory over time is recorded.

    Attributes:
        epoch_steps: The number of steps of an epoch whose peaks are recorded, from the first, which
            has no optimizer state.
        max_points: Most recorded points of the one step that is followed in detail.
        snapshot: Whether a GPU's allocator writes a file for PyTorch's memory viewer.
    """

    epoch_steps: Annotated[Count, Field(ge=2)] = 8
    max_points: Annotated[Count, Field(ge=10)] = 400
    snapshot: Flag = False
