"""The results of training a model on data: loss, scores, time, and gradient noise."""

import math
from typing import Literal

from rmmbench.results.gradient_noise import DrawnNoise, LayerNoise
from rmmbench.results.kept_noise import KeptNoise
from rmmbench.spec.ranges import Finite, Flag, Line, Name, NotNegative, Whole
from rmmbench.spec.strict import Strict


class LossPoint(Strict):
    """The mean training loss of the steps after the previous point, up to `step`."""

    step: Whole
    loss: Finite


class Evaluation(Strict):
    """The model's loss and scores on the evaluation set after `step` steps.

    Attributes:
        loss: The mean over the evaluation set.
        scores: By metric; a metric without a value, such as a correlation of constants, is left
            out.
    """

    step: Whole
    loss: Finite
    scores: dict[Name, Finite]


class Training(Strict):
    """One training run.

    Attributes:
        device: Where the model was trained.
        metric: The name of the main score in `Evaluation.scores`.
        higher_is_better: Whether a higher main score is better.
        steps: Optimizer steps done.
        epochs: Passes over the training set done; None where a loop of one's own does not tell.
        train_samples, eval_samples: Sizes of the two sets; None where it does not tell.
        losses: The training loss over the steps.
        evaluations: The evaluations in order.
        train_seconds: Time of the steps alone, without evaluations, checkpoints and interruptions.
        samples_per_second: Trained samples ÷ `train_seconds`; of somebody's own training the
            median of the steps that nothing else was measured in.
        resumed_at: Steps at which a stopped run went on from its checkpoint.
        noise: The gradient noise of the watched layers, in order of steps.
        never_ran: The watched layers whose weight had no gradient in a watched step.
        drawn_noise: The noise of one watched layer at the last step, from draws of S.
        kept_noise: What many ways of keeping X would add to the noise of all watched layers, means
            over the watched steps.
    """

    device: Literal["cuda", "cpu"]
    metric: Name
    higher_is_better: Flag
    steps: Whole
    epochs: NotNegative | None
    train_samples: Whole | None
    eval_samples: Whole | None
    losses: tuple[LossPoint, ...]
    evaluations: tuple[Evaluation, ...]
    train_seconds: NotNegative
    samples_per_second: NotNegative
    resumed_at: tuple[Whole, ...] = ()
    noise: tuple[LayerNoise, ...] = ()
    never_ran: tuple[Line, ...] = ()
    drawn_noise: tuple[DrawnNoise, ...] = ()
    kept_noise: tuple[KeptNoise, ...] = ()

    @property
    def score(self) -> float | None:
        """The main score after the last step; None if it has no value."""
        return self.evaluations[-1].scores.get(self.metric) if self.evaluations else None

    @property
    def inflation(self) -> float | None:
        """How many times as noisy gradients were than exact's, in the sketched layers of `noise`.

        1 + their D²_RMM ÷ their D²_SGD, each summed over layers and watched steps; None if none was
        watched.
        """
        own = [(each, each.variances.get(each.trained_with or "")) for each in self.noise]
        known = [(each.sgd_by_samples, variance) for each, variance in own if variance is not None]
        sgd = math.fsum(sgd for sgd, _ in known)
        return 1 + math.fsum(variance for _, variance in known) / sgd if sgd else None
