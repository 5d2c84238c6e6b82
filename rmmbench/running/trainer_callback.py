"""A callback for transformers' Trainer: converts the model, watches its noise, records its steps.

The Trainer's log holds the noise of watched layers, so that it survives a checkpoint.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback as Base
from transformers import TrainerControl, TrainerState, TrainingArguments

import rmmbench
from rmmbench.measures.gradient.drawing import Point
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.results.noise_file import NoiseFile
from rmmbench.results.record import Record
from rmmbench.running.trainers_own import (
    evaluations_of,
    first_batch,
    losses_of,
    own_of,
    size_of_data,
    told_by,
)
from rmmbench.running.wanted import Wanted
from rmmbench.running.watched_case import Loop, device_of, model_name
from rmmbench.running.watched_loop import Watch

NOISE = "noise"
"""The key in a log entry that holds everything known about a step's noise."""


class TrainerCallback(Base):
    """Converts the Trainer's model, watches gradient noise, and records memory and throughput.

    The model is changed when the Trainer is made, before it makes the optimizer and wraps the
    model. With `out` the steps of the training are measured as `rmmbench.watch` does, and the
    record is written when training ends, by the first process.

    With `noise` an entry of `state.log_history` has for each watched layer
    "noise/LAYER/inflation" and "noise/LAYER/effective_batch_size", for the layer's own sketch or,
    if it has none, for `noise_sketch`. Under "noise" it has the whole `LayerNoise`, so the noise is
    saved with checkpoints and restored by a resume. With gradient accumulation the first
    micro-batch counts. With several processes each logs its own batch, and the first saves. If the
    loss is scaled, by float16's gradient scaler or by accumulation, everything but the two figures
    is scaled too.

    Examples:
        >>> import rmmbench
        >>> callback = rmmbench.TrainerCallback("runs/mine", sketch="oporp", rho=0.5, noise="*")
        >>> callback.noise, callback.record  # of a Trainer(..., callbacks=[callback])
        ([], None)

    Attributes:
        captured: The first watched layer's X and Y at the last step, with `capture`.
    """

    def __init__(
        self,
        out: str | Path | None = None,
        *,
        noise: str | Iterable[str] = (),
        every: int = 50,
        noise_rho: float = 0.5,
        noise_sketch: str = "gaussian",
        noise_bits: int | None = None,
        capture: bool = False,
        example: Any = None,
        **settings: Any,
    ) -> None:
        """Choose what to do; nothing is changed yet.

        Args:
            out: The run directory; None for no record. It gathers trainings: see `rmmbench.watch`.
            noise: Patterns of the layers to watch ("*.7.output.dense"); none watches none.
            every: One step in so many is watched, and the first.
            noise_rho: Compression rate for the noise of layers without a sketch.
            noise_sketch: The sketch for the figures of these layers.
            noise_bits: Of a number of x_proj, for their noise; None for no rounding.
            capture: Whether to keep X and Y of the first watched layer at the last step.
            example: A batch for where="beneficial"; by default the first of the data set's samples.
            settings: What changes the model: sketch, rho, bits, where, method …, or plan; none
                leaves it as it is. Also seq_len, which the record then has.

        Raises:
            TypeError: If there is no setting of a name.
            ValueError: If every is below 1, or a plan stands beside other settings.
            UsageError: If a value is not possible.
        """
        how = {"noise_rho": noise_rho, "noise_bits": noise_bits, "example": example}
        self._wanted = Wanted.of(out, noise, every, settings, **how)
        self._sketch, self._capture = noise_sketch, capture
        self._watch: Watch | None = None
        self._state: TrainerState | None = None
        self._about: dict[str, Any] = {}
        self.captured: Point | None = None

    @property
    def layers(self) -> list[str]:
        """The names of the watched layers; none before a training."""
        return self._watch.layers if self._watch is not None else []

    @property
    def noise(self) -> list[LayerNoise]:
        """All logged noise in order of steps, also that from before a resume."""
        log: list[Any] = list(self._state.log_history) if self._state is not None else []
        return [LayerNoise.model_validate(one) for entry in log for one in entry.get(NOISE, ())]

    @property
    def record(self) -> Record | None:
        """What was recorded of the last training; None before its end, and without `out`."""
        return self._watch.record if self._watch is not None else None

    def save(self, path: str | Path, *, model: str | None = None) -> None:
        """Write a noise file of all layers, from the noise of all logged steps.

        Args:
            path: Of the file.
            model: What to call the model; by default its name in the config, or its class.

        Raises:
            NoiseFileError: If no layer was watched with a gradient, or it cannot be written.
        """
        about = self._about | ({"model": model} if model else {})
        NoiseFile.of(self.noise, self.layers, **about).write(Path(path))

    def on_init_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **_: Any,
    ) -> None:
        """Change the model, unless that needs a batch, which comes with the training.

        Raises:
            ValueError: If there is no model, DeepSpeed trains it, or it cannot be changed so.
        """
        watch = self._looking(args, model)
        if not self._wanted.needs_example:
            watch.change()
        self._watch = watch

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        optimizer: Any = None,
        train_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Begin to watch, and to record if that is wanted.

        Raises:
            ValueError: If a pattern matches no layer, ranks sketch differently, or see
                `on_init_end`.
            RunError: If the run directory cannot be used.
        """
        self._state = state
        # `model_init` makes another model for each training.
        if self._watch is None or self._watch.model is not model:
            self._watch = self._looking(args, model)
        if self._watch.wanted.needs_example:
            batch = first_batch(train_dataloader)
            self._watch.wanted = self._watch.wanted.seeing(batch)
        watched = self._watch.model
        told = {**told_by(args, watched), **self._wanted.told}
        own = tuple(dict.fromkeys((*self._watch.own, *own_of(args))))
        size, device = args.per_device_train_batch_size, device_of(watched)
        loop = Loop(size, device, optimizer, own, told)
        self._watch.start(loop, records=state.is_world_process_zero)
        self._about = {
            "rmmbench": rmmbench.__version__,
            "model": model_name(watched),
            "batch_size": size,
            "dtype": told["dtype"],
        }

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell that a step begins, and watch its layers if it is its turn."""
        assert self._watch is not None
        step = state.global_step + 1
        captures = self._capture and step >= state.max_steps
        self._watch.begin(step, captures=captures)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell that a step is over, and log the noise of its layers if they were watched."""
        assert self._watch is not None
        self._state = state
        noise = self._watch.end()
        self.captured = self._watch.captured
        if noise:
            entry: dict[str, Any] = {"step": state.global_step, "epoch": state.epoch}
            for one in noise:
                entry |= self._figures(one)
            state.log_history.append(entry | {NOISE: [one.model_dump() for one in noise]})

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: Any = None,
        eval_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Remove the hooks from the model, and write the record if there is to be one."""
        self._state = state
        if self._watch is not None:
            self._watch.finish(
                noise=tuple(self.noise),
                losses=tuple(losses_of(state)),
                evaluations=tuple(evaluations_of(state)),
                epochs=float(state.epoch or 0.0),
                train_samples=size_of_data(train_dataloader),
                eval_samples=size_of_data(eval_dataloader),
            )

    def _looking(self, args: TrainingArguments, model: nn.Module | None) -> Watch:
        """Return what looks at the Trainer's model.

        Raises:
            ValueError: If there is none, DeepSpeed trains it, or it was changed before.
        """
        if model is None:
            need = "TrainerCallback needs the model of its Trainer, got none"
            raise ValueError(f"{need}; give it to the Trainer as model, or a model_init")
        if getattr(args, "deepspeed", None) or getattr(args, "deepspeed_plugin", None):
            need = "TrainerCallback must be in a Trainer without DeepSpeed, which keeps parameters"
            raise ValueError(f"{need} its own way; train with DDP or FSDP, or leave it out")
        told = {**told_by(args, model), **self._wanted.told}
        return Watch(model, self._wanted.telling(told))

    def _figures(self, noise: LayerNoise) -> dict[str, float]:
        sketch = noise.trained_with or self._sketch
        if sketch not in noise.variances:
            return {}
        figures = {
            "inflation": noise.inflation(sketch),
            "effective_batch_size": noise.effective_batch_size(sketch),
        }
        where = f"{NOISE}/{noise.layer}"
        return {f"{where}/{name}": value for name, value in figures.items() if value is not None}
