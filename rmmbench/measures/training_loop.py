"""Trains a model on data with transformers' Trainer, and returns its losses, scores and times.

A training that was interrupted goes on from its last checkpoint with the same result: the Trainer
restores parameters, optimizer, schedule, order of the data and torch's generators, and the sketches
of each step depend on the seed and the step alone.
"""

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import transformers
from torch import nn
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from rmmbench.data import Scoring, TrainingData
from rmmbench.measures.over_ranks import of_first
from rmmbench.measures.step import attending
from rmmbench.nn import manual_seed
from rmmbench.nn.ranks import check_same_settings
from rmmbench.results.stage import Stage
from rmmbench.results.trained import Evaluation, LossPoint, Training
from rmmbench.spec.case import Case
from rmmbench.spec.measuring import TrainingSettings

_EVAL_BATCHES = 4  # an evaluation keeps nothing for a backward pass, so its batches can be larger
_STEPS_A_SEED = 2**32


class Trained(NamedTuple):
    """The result of a training.

    Attributes:
        training: Its losses, scores and times, up to where it stopped.
        diverged: Why it was stopped early; None if it was not.
    """

    training: Training
    diverged: str | None


def train(
    model: nn.Module,
    data: TrainingData,
    case: Case,
    folder: Path,
    *,
    announce: Callable[[str], None] = lambda stage: None,
    callbacks: Iterable[transformers.TrainerCallback] = (),
) -> Trained:
    """Train a model on the current thread, and return the result.

    Args:
        model: Returns its loss first, or as `loss`, and then what is scored.
        data: As the model reads it.
        case: Its `training`, what a step is, dtype, seed and time_device are used.
        folder: For checkpoints; if it has one, training goes on from there.
        announce: Called with the progress.
        callbacks: Further callbacks for transformers' Trainer.

    Raises:
        ValueError: If the settings contradict each other, or ranks sketch differently.
    """
    settings = case.training or TrainingSettings()
    if settings.weight_decay and case.optimizer != "adamw":
        given = f"weight_decay={settings.weight_decay:g} and optimizer '{case.optimizer}'"
        raise ValueError(f"weight_decay needs the optimizer 'adamw', got {given}")
    check_same_settings(model)
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    recorder = _Recorder(case.seed, data.scoring, announce)
    trainer = transformers.Trainer(
        model=model,
        args=_arguments(case, settings, data, folder),
        data_collator=data.collate,
        train_dataset=data.train,
        eval_dataset=data.evaluation,
        compute_metrics=_metrics(data.scoring),
        callbacks=[recorder, *callbacks],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    with attending(case.attention_kernel), suppress(_DoneError):
        trainer.train(resume_from_checkpoint=of_first(lambda: _last_checkpoint(folder, case.ranks)))
    if recorder.diverged is None and recorder.last_evaluation(trainer.state) < recorder.step:
        trainer.evaluate()
    return Trained(_training(trainer, recorder, data, case), recorder.diverged)


def _last_checkpoint(folder: Path, ranks: int) -> str | None:
    """Return the last complete checkpoint of so many ranks, and remove incomplete ones."""
    while folder.is_dir():
        last: str | None = get_last_checkpoint(str(folder))  # type: ignore[no-untyped-call]
        if last is None or _is_whole(Path(last), ranks):
            return last
        shutil.rmtree(last)
    return None


def _is_whole(checkpoint: Path, ranks: int) -> bool:
    # Each of several ranks writes the state of its own generators.
    own = (checkpoint / f"rng_state_{rank}.pth" for rank in range(ranks) if ranks > 1)
    if not all(each.exists() for each in own):
        return False
    # The Trainer writes its state last, and only then removes the checkpoint before.
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True


class _DoneError(Exception):
    """All steps of a training were done before it was interrupted."""


class _Recorder(transformers.TrainerCallback):
    """Seeds the sketches of each step, times steps, and stops a training that diverges.

    The Trainer's own log holds what must survive an interruption.
    """

    def __init__(self, seed: int, scoring: Scoring, announce: Callable[[str], None]) -> None:
        self.diverged: str | None = None
        self.step = 0
        self._seed, self._scoring, self._announce = seed, scoring, announce
        self._seconds = self._began = 0.0
        self._told = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step:
            logged = [entry["train_seconds"] for entry in _entries(state, "train_seconds")]
            self._seconds = logged[-1] if logged else 0.0
            self.step = state.global_step
            state.log_history.append({"step": state.global_step, "resumed": True})
        if state.global_step >= state.max_steps:
            raise _DoneError  # the Trainer would take one step more

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        manual_seed(self._seed * _STEPS_A_SEED + state.global_step)
        self._began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._seconds += now - self._began
        self.step = state.global_step
        if state.global_step >= state.max_steps:
            control.should_log = True
        if now - self._told > 1:
            self._told = now
            said = f"training, step {state.global_step} of {state.max_steps}"
            self._announce(Stage.of(said, state.global_step / max(1, state.max_steps)))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        state.log_history[-1]["train_seconds"] = self._seconds
        for name, what in (("loss", "the training loss"), ("eval_loss", "the evaluation loss")):
            loss = (logs or {}).get(name, 0.0)
            if not math.isfinite(loss) and self.diverged is None:
                remedy = "lower learning_rate, set max_grad_norm, or keep more"
                self.diverged = f"{what} was {loss} at step {state.global_step}; {remedy}"
                self._stop(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.diverged is not None:
            self._stop(control)

    def _stop(self, control: Any) -> None:
        control.should_training_stop = True
        control.should_evaluate = control.should_save = False

    def last_evaluation(self, state: Any) -> int:
        """Return the step of the last evaluation; −1 if there was none."""
        return max((entry["step"] for entry in _entries(state, "eval_loss")), default=-1)


def _arguments(
    case: Case, settings: TrainingSettings, data: TrainingData, folder: Path
) -> transformers.TrainingArguments:
    interval: dict[str, Any] = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    if settings.eval_every:
        interval = {"eval_strategy": "steps", "save_strategy": "steps"}
        interval |= {"eval_steps": settings.eval_every, "save_steps": settings.eval_every}
    batch_size = min(case.batch_size, len(data.train))
    return transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=min(_EVAL_BATCHES * case.batch_size, len(data.evaluation)),
        max_steps=settings.max_steps or -1,
        num_train_epochs=settings.epochs,
        optim=_OPTIMIZERS[case.optimizer, case.update],
        gradient_accumulation_steps=case.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule if settings.schedule != "constant" else _CONSTANT,
        warmup_steps=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        adam_beta2=settings.beta2,
        adam_epsilon=settings.epsilon,
        max_grad_norm=case.clip_norm or settings.max_grad_norm,
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
        save_total_limit=1,
        prediction_loss_only=not data.scoring.needs_predictions,
        seed=case.seed,
        data_seed=case.seed,
        bf16=case.dtype == "bfloat16",
        fp16=case.dtype == "float16",
        use_cpu=case.time_device == "cpu",
        dataloader_pin_memory=case.time_device == "cuda",
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        **interval,
    )


_CONSTANT = "constant_with_warmup"
# Without weight decay Adam and AdamW are the same.
_OPTIMIZERS = {
    ("adam", None): "adamw_torch",
    ("adamw", None): "adamw_torch",
    ("sgd", None): "sgd",
    ("adam", "fused"): "adamw_torch_fused",
    ("adamw", "fused"): "adamw_torch_fused",
}


def _metrics(scoring: Scoring) -> Callable[[Any], dict[str, float]] | None:
    if not scoring.needs_predictions:
        return None

    def compute(prediction: Any) -> dict[str, float]:
        predictions = prediction.predictions
        if isinstance(predictions, tuple):
            predictions = predictions[0]
        return scoring.score(math.nan, predictions, prediction.label_ids)

    return compute


def _training(
    trainer: transformers.Trainer, recorder: _Recorder, data: TrainingData, case: Case
) -> Training:
    """Return the results from the Trainer's log; entries that are not finite are left out."""
    state: Any = trainer.state
    losses = [LossPoint(step=e["step"], loss=e["loss"]) for e in _entries(state, "loss")]
    seconds = max((e["train_seconds"] for e in _entries(state, "train_seconds")), default=0.0)
    each = case.batch_size * case.ranks
    samples = _samples(state.global_step, len(data.train), each, case.accumulate)
    device: Literal["cuda", "cpu"] = "cuda" if case.time_device == "cuda" else "cpu"
    return Training(
        device=device,
        metric=data.scoring.metric,
        higher_is_better=data.scoring.higher_is_better,
        steps=state.global_step,
        epochs=state.epoch or 0.0,
        train_samples=len(data.train),
        eval_samples=len(data.evaluation),
        losses=tuple(losses),
        evaluations=tuple(_evaluation(e, data.scoring) for e in _entries(state, "eval_loss")),
        train_seconds=seconds,
        samples_per_second=samples / seconds if seconds else 0.0,
        resumed_at=tuple(e["step"] for e in state.log_history if "resumed" in e),
    )


def _samples(steps: int, size: int, batch_size: int, accumulate: int = 1) -> int:
    """Return how many samples `steps` steps read; the last step of an epoch may read fewer."""
    samples = batch_size * accumulate
    epochs, rest = divmod(steps, -(-size // samples))
    return epochs * size + min(rest * samples, size)


def _entries(state: Any, name: str) -> list[dict[str, Any]]:
    """Return the entries of the log that have a finite number called `name`."""
    return [entry for entry in state.log_history if name in entry and math.isfinite(entry[name])]


def _evaluation(entry: dict[str, Any], scoring: Scoring) -> Evaluation:
    loss = entry["eval_loss"]
    if not scoring.needs_predictions:
        return Evaluation(step=entry["step"], loss=loss, scores=scoring.score(loss, None, None))
    timings = ("eval_loss", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
    scores = {
        name.removeprefix("eval_"): value
        for name, value in entry.items()
        if name.startswith("eval_") and name not in timings and math.isfinite(value)
    }
    return Evaluation(step=entry["step"], loss=loss, scores=scores)
