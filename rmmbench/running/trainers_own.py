"""What transformers' Trainer tells of a training: its arguments, its log, and its data."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import TrainerState, TrainingArguments

from rmmbench.results.trained import Evaluation, LossPoint
from rmmbench.running.watched_case import dtype_of


def told_by(args: TrainingArguments, model: nn.Module) -> dict[str, Any]:
    """Return what of a case the Trainer's arguments tell."""
    mixed = {args.bf16: "bfloat16", args.fp16: "float16"}
    return {
        "dtype": mixed.get(True) or dtype_of(model),
        "accumulate": args.gradient_accumulation_steps,
        "clip_norm": float(args.max_grad_norm) or None,
        "seed": args.seed,
    }


def own_of(args: TrainingArguments) -> list[str]:
    """Return the methods that the Trainer applies itself."""
    switches = ("activation_checkpointing", "gradient_checkpointing")
    found = ["checkpoint"] if any(getattr(args, name, False) for name in switches) else []
    return found + (["compile"] if args.torch_compile else [])


def first_batch(loader: Any) -> Mapping[str, Any]:
    """Return a batch like those of a loader, which does not move on; nothing random is drawn.

    Raises:
        ValueError: If its data set has no samples by number.
    """
    data: Any = getattr(loader, "dataset", None)
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        need = "where='beneficial' must see one batch, and this data set is a stream"
        raise ValueError(f"{need}; give TrainerCallback(example=batch)")
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or 1
    with torch.random.fork_rng():
        samples = [data[index] for index in range(min(size, len(data)))]
        batch: Mapping[str, Any] = loader.collate_fn(samples)
    return batch


def size_of_data(loader: Any) -> int | None:
    """Return how many samples a loader's data set has; None if that is not known."""
    data: Any = getattr(loader, "dataset", None)
    return len(data) if hasattr(data, "__len__") else None


def losses_of(state: TrainerState) -> list[LossPoint]:
    """Return the training losses in the Trainer's log, but for those that are not finite."""
    return [
        LossPoint(step=int(entry["step"]), loss=entry["loss"])
        for entry in state.log_history
        if math.isfinite(entry.get("loss", math.nan))
    ]


def evaluations_of(state: TrainerState) -> list[Evaluation]:
    """Return the evaluation losses in the Trainer's log, but for those that are not finite."""
    log: list[dict[str, Any]] = list(state.log_history)
    losses = [(entry["step"], entry.get("eval_loss", math.nan)) for entry in log]
    return [
        Evaluation(step=step, loss=loss, scores={"loss": loss})
        for step, loss in losses
        if math.isfinite(loss)
    ]
