"""The columns of a record's row that tell of gradients' noise, and of a training."""

from rmmbench.results.gradient_error import GradientError
from rmmbench.results.trained import Training


def noise_columns(
    gradient: GradientError | None, training: Training | None, speed: object
) -> dict[str, object]:
    """Return the columns of noise inflation: of compared gradients, or of watched layers."""
    inflation, speed = (gradient.inflation if gradient else None), speed
    if training:
        inflation, speed = training.inflation, training.samples_per_second
    effective = speed / inflation if isinstance(speed, float) and inflation else None
    return {"noise_inflation": inflation, "effective_samples_per_second": effective}


def training_columns(training: Training | None) -> dict[str, object]:
    """Return the columns of a training run, each None where there was none."""
    last = training.evaluations[-1] if training and training.evaluations else None
    losses = training.losses if training else ()
    return {
        "metric": training.metric if training else None,
        "higher_is_better": training.higher_is_better if training else None,
        "score": training.score if training else None,
        "train_loss": losses[-1].loss if losses else None,
        "eval_loss": last.loss if last else None,
        "train_steps": training.steps if training else None,
        "train_seconds": training.train_seconds if training else None,
        "train_samples_per_second": training.samples_per_second if training else None,
    }
