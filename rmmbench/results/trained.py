"""What comes of training a model on data: loss, scores, time, and the noise of its gradients."""

from typing import Literal

from rmmbench.results.gradient_noise import DrawnNoise, LayerNoise
from rmmbench.spec.ranges import Finite, Flag, Name, NotNegative, Whole
from rmmbench.spec.strict import Strict


class LossPoint(Strict):
    """The mean training loss of the steps since the point before, up to `step`."""

    step: Whole
    loss: Finite


class Evaluation(Strict):
    """What the model was worth on the evaluation set after `step` steps.

    Attributes:
        loss: Mean over the evaluation set.
        scores: By metric; a metric that has no value here, such as a correlation of constants, is
            left out.
    """

    step: Whole
    loss: Finite
    scores: dict[Name, Finite]


class Training(Strict):
    """One training run.

    Attributes:
        device: Where it ran.
        metric: The name of the score that counts, of `Evaluation.scores`.
        higher_is_better: Of that score.
        steps: Optimizer steps done.
        epochs: Passes over the training set done.
        train_samples, eval_samples: Sizes of the two sets.
        losses: Of training.
        evaluations: In order.
        train_seconds: Of the steps alone; without evaluations, checkpoints and what stood still.
        samples_per_second: Trained samples ÷ `train_seconds`.
        resumed_at: Steps at which a stopped run went on from its checkpoint.
        noise: Of the watched layers, in order of steps.
        drawn_noise: Of one watched layer at the end, by drawing S.
    """

    device: Literal["cuda", "cpu"]
    metric: Name
    higher_is_better: Flag
    steps: Whole
    epochs: NotNegative
    train_samples: Whole
    eval_samples: Whole
    losses: tuple[LossPoint, ...]
    evaluations: tuple[Evaluation, ...]
    train_seconds: NotNegative
    samples_per_second: NotNegative
    resumed_at: tuple[Whole, ...] = ()
    noise: tuple[LayerNoise, ...] = ()
    drawn_noise: tuple[DrawnNoise, ...] = ()

    @property
    def score(self) -> float | None:
        """The score that counts, after the last step; None where it has no value."""
        return self.evaluations[-1].scores.get(self.metric) if self.evaluations else None
