"""A callback for transformers' Trainer that logs gradient noise while a model trains."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

import rmmbench
from rmmbench.measures.gradient.drawing import Point
from rmmbench.measures.gradient.watching import NoiseWatch
from rmmbench.nn.ranks import check_same_settings
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.results.noise_file import NoiseFile

NOISE = "noise"
"""The key in a log entry that holds everything known about a step's noise."""


class NoiseCallback(TrainerCallback):
    """Watches layers at the first and every n-th step, and writes their noise into the log.

    An entry of `state.log_history` has for each layer "noise/LAYER/inflation" and
    "noise/LAYER/effective_batch_size", for the layer's own sketch or, if it has none, for `sketch`.
    Under "noise" it has the whole `LayerNoise`, so the noise is saved with checkpoints and restored
    by a resume. With gradient accumulation the first micro-batch counts. With several processes
    each logs its own batch, and the first saves. If the loss is scaled, by float16's gradient
    scaler or by accumulation, everything but the two figures is scaled too.

    Examples:
        >>> import rmmbench
        >>> callback = rmmbench.NoiseCallback("*.7.output.dense", every=50)
        >>> callback.noise  # of a Trainer(..., callbacks=[callback]) that has trained
        []

    Attributes:
        captured: The first layer's X and Y at the last step, with `capture`.
    """

    def __init__(
        self,
        layers: str | Iterable[str],
        *,
        every: int = 50,
        rho: float = 0.5,
        sketch: str = "gaussian",
        bits: int | None = None,
        capture: bool = False,
    ) -> None:
        """Choose layers and steps.

        Args:
            layers: Patterns of qualified names ("*.7.output.dense").
            every: One step in so many is watched.
            rho: Compression rate for the noise of layers without a sketch.
            sketch: The sketch for the figures of layers without one.
            bits: Of a number of x_proj, for the noise of these layers; None for no rounding.
            capture: Whether to keep X and Y of the first layer at the last step.

        Raises:
            ValueError: If every is below 1.
        """
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self._layers = (layers,) if isinstance(layers, str) else tuple(layers)
        self._every, self._sketch, self._capture = every, sketch, capture
        self._rho, self._bits = rho, bits
        self._watch: NoiseWatch | None = None
        self._state: TrainerState | None = None
        self.captured: Point | None = None
        self._about: dict[str, Any] = {}

    @property
    def layers(self) -> list[str]:
        """The names of the watched layers; none before a training."""
        return self._watch.layers if self._watch is not None else []

    @property
    def noise(self) -> list[LayerNoise]:
        """All logged noise in order of steps, also that from before a resume."""
        log: list[Any] = list(self._state.log_history) if self._state is not None else []
        return [LayerNoise.model_validate(one) for entry in log for one in entry.get(NOISE, ())]

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

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **_: Any,
    ) -> None:
        """Find the layers, and check that all ranks have the same.

        Raises:
            ValueError: If a pattern matches no layer, or ranks sketch differently.
        """
        assert model is not None
        check_same_settings(model)
        self._state = state
        self._watch = NoiseWatch(model, self._layers, rho=self._rho, bits=self._bits)
        self._about = {
            "rmmbench": rmmbench.__version__,
            "model": getattr(getattr(model, "config", None), "name_or_path", "")
            or type(model).__name__,
            "batch_size": args.per_device_train_batch_size,
            "dtype": _dtype(model, args),
        }

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start to watch, if this step is to be watched."""
        assert self._watch is not None
        step, is_last = state.global_step + 1, state.global_step + 1 >= state.max_steps
        self._watch.active = step == 1 or step % self._every == 0 or (self._capture and is_last)
        if self._capture and is_last:
            self._watch.capture(self._watch.layers[0], step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Log the noise of a watched step."""
        assert self._watch is not None
        self._state = state
        if not self._watch.active:
            return
        self._watch.active = False
        noise = self._watch.collect(state.global_step)
        self.captured = self._watch.captured
        if noise:
            entry: dict[str, Any] = {"step": state.global_step, "epoch": state.epoch}
            for one in noise:
                entry |= self._figures(one)
            state.log_history.append(entry | {NOISE: [one.model_dump() for one in noise]})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Remove the hooks from the model."""
        self._state = state
        if self._watch is not None:
            self._watch.remove()

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


def _dtype(model: nn.Module, args: TrainingArguments) -> str:
    """Return what a case calls the dtype: of autocast, or else of the parameters."""
    if args.bf16 or args.fp16:
        return "bfloat16" if args.bf16 else "float16"
    kept = next((str(each.dtype) for each in model.parameters()), "torch.float32")
    dtype = kept.removeprefix("torch.")
    return dtype if dtype == "float32" else f"{dtype}-true"
