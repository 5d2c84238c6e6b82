"""Trains a model and watches the gradient noise of its layers, as `rmmbench variance` does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rmmbench.errors import ArgumentError, arguments_checked
from rmmbench.results.noise_file import NoiseFile
from rmmbench.results.store import Run
from rmmbench.running.execution import run_path
from rmmbench.running.one_run import as_call, run_profile
from rmmbench.spec.profile import PROFILE_VERSION, Profile
from rmmbench.spec.strict import complaint

FIGURES = ("figure3", "figure5", "noise")

# At a larger ρ, drawing a dense S this often takes longer than training the model.
_RATES = (0.05, 0.1, 0.2, 0.5)
# The paper's layer, or for other models one in the middle.
_LAYERS = {
    "roberta-base": "*.layer.7.output.dense",
    "roberta-large": "*.layer.7.output.dense",
    "roberta-tiny": "*.layer.1.output.dense",
    "decoder": "*.layers.1.mlp.down_proj",
    "mlp": "layers.1",
}


@arguments_checked
def variance(
    model: str,
    *,
    layer: str | Sequence[str] = (),
    sketch: str | Sequence[str] = "gaussian",
    rho: float = 0.5,
    bits: int | None = None,
    principal: int | None = None,
    task: str | None = None,
    batch_size: int = 64,
    seq_len: int | None = None,
    steps: int = 100,
    every: int = 5,
    draws: int = 200,
    learning_rate: float = 3e-4,
    data: str | Path | None = None,
    checkpoint: str | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    save: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train a model with a sketch, and measure how noisy a layer's weight gradient is.

    `summary` of the returned run has a table of the noise, `plot` draws "figure3", "figure5" and
    "noise". The numbers are in `training.noise` of each record.

    Args:
        model: A name of `rmmbench list models`.
        layer: Patterns of the names of the layers to watch, such as "*.output.dense"; by default a
            layer in the middle, for the models that rmmbench knows, and with `save` every layer.
        sketch: One or several names; each is a training.
        rho: Compression rate, in (0, 1].
        bits: Of a number of x_proj, 8, 4 or 2; None for no rounding.
        principal: Principal features, whose part of the gradient is exact; None for none.
        task: The data to train on; by default text for decoders and digits for other models.
        batch_size: Samples per step.
        seq_len: Tokens per sample, padding included; by default the task's.
        steps: Optimizer steps.
        every: Steps from one measurement of the noise to the next.
        draws: How often each S is drawn at the last step.
        learning_rate: The highest learning rate.
        data: The directory with the task's data.
        checkpoint: Pretrained weights to start from: a name on the hub, or a directory.
        device: "cuda", "cpu", or "auto": the GPU if there is one.
        out: The run directory; by default runs/variance-MODEL-DEVICE.
        save: Where to write a noise file of the watched layers, for planning.
        quiet: Show no progress.

    Raises:
        TypeError: If there is no argument of a name.
        UsageError: If a value is invalid, no layer matches, or the device cannot train.
        NoiseFileError: If there is no noise to save, or the file cannot be written.
        RunError: If `out` holds another run, is in use or cannot be written.

    Examples:
        >>> import rmmbench
        >>> asked = {"steps": 4, "every": 2, "draws": 2, "batch_size": 16, "quiet": True}
        >>> run = rmmbench.variance("mlp:64-32-10", sketch="oporp", **asked)
        >>> {noise.layer for record in run.records() for noise in record.training.noise}
        {'layers.1'}
    """
    given = {"task": task, "seq_len": seq_len, "batch_size": batch_size, "rho": rho}
    given |= {"bits": bits, "principal": principal}
    training: dict[str, Any] = {
        "data": None if data is None else str(data),
        "checkpoint": checkpoint,
    }
    training |= {"steps": steps, "every": every, "draws": draws, "learning_rate": learning_rate}
    layers = layers_to_watch(_several(layer), save)
    asked = noise_profile(model, layers, _several(sketch), given, training)
    told = {name: value for name, value in {**given, **training}.items() if value is not None}
    command = as_call("variance", model, layer=layer, sketch=sketch, **told)
    path = run_path(f"variance-{model}", device) if out is None else Path(out)
    about: dict[str, Any] = {"name": "variance", "command": command, "trains": True}
    run = run_profile(asked, device, path, quiet=quiet, **about)
    if save is not None:
        save_noise(run, Path(save))
    return run


def layers_to_watch(given: Sequence[str], save: str | Path | None) -> tuple[str, ...]:
    """Return the patterns of layers: every layer if noise is saved, and none is given."""
    return tuple(given) or (("*",) if save is not None else ())


def save_noise(run: Run, path: Path) -> None:
    """Write the noise file of a run of `variance`, from its exact training if that has noise.

    Raises:
        NoiseFileError: If its training has no noise, or the file cannot be written.
    """
    trained = [each for each in run.records() if each.training and each.training.noise]
    exact = [each for each in trained if each.case.method == "exact"]
    NoiseFile.of_record(next(iter([*exact, *trained, *run.records()]))).write(path)


def noise_profile(
    model: str,
    layers: Sequence[str],
    sketches: Sequence[str],
    given: Mapping[str, Any],
    training: Mapping[str, Any],
) -> Profile:
    """Return the profile of a training that watches the noise of layers.

    Args:
        model: The model's name.
        layers: Patterns of the names of layers; by default the model's usual one.
        sketches: The sketches to train with.
        given: task, seq_len, batch_size, rho, bits and principal; None for the default.
        training: steps, every, draws, learning_rate, data and checkpoint.

    Raises:
        UsageError: If a value is invalid, or the model has no usual layer.
    """
    family = model.partition(":")[0]
    patterns = tuple(layers) or tuple(filter(None, [_LAYERS.get(family)]))
    if not patterns:
        need = f" must be given for model '{model}', such as '*.output.dense'"
        raise ArgumentError("layer", need)
    asked = {"task": "text" if family == "decoder" else "digits", "batch_size": 64, "rho": 0.5}
    asked |= {name: value for name, value in given.items() if value is not None}
    grid = {"model": (model,), "sketch": tuple(sketches), "measure": ("memory", "training")}
    own = dict(training)
    steps, every = own.pop("steps"), own.pop("every")
    settings = own | {
        **dict.fromkeys(("max_steps", "eval_every"), steps),
        **dict.fromkeys(("log_every", "watch_every"), every),
        "draw_rho": sorted({*_RATES, asked["rho"]}),
        "watch": patterns,
        "watch_rho": asked["rho"],
    }
    data = {
        "version": PROFILE_VERSION,
        "title": f"Gradient noise of {model} while it trains",
        "figures": FIGURES,
        "time_limit_seconds": 86400.0,
        "grid": (grid | {name: (value,) for name, value in asked.items()},),
        "training": settings,
    }
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        fault = error.errors()[0]
        name = next(part for part in reversed(fault["loc"]) if isinstance(part, str))
        raise ArgumentError(_ARGUMENTS.get(name, name), complaint(fault)) from None


_ARGUMENTS = {
    "max_steps": "steps",
    "eval_every": "steps",
    "log_every": "every",
    "watch_every": "every",
    "watch": "layer",
    "watch_rho": "rho",
    "draw_rho": "rho",
}
"""The arguments that give settings of training of another name."""


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
