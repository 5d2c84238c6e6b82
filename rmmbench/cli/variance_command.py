"""`rmmbench variance`: how noisy a layer's weight gradient is while a model trains."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmmbench.cli.options import (
    AsJson,
    Axes,
    Checkpoint,
    Data,
    Devices,
    FigureFormats,
    ModelName,
    Out,
    Steps,
    single,
    takes_axes,
    words,
)
from rmmbench.cli.run_cases import Asked, carry_out, end, report
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import print_path
from rmmbench.errors import UsageError

if TYPE_CHECKING:
    from rmmbench.results.store import Run
    from rmmbench.spec.profile import Profile

# To draw a dense S this often at a larger ρ takes longer than to train the model.
_RATES = (0.05, 0.1, 0.2, 0.5)
_FIGURES = ("figure3", "figure5", "noise")
# The paper's layer if the model has it, else one in the middle.
_LAYERS = {
    "roberta-base": "*.layer.7.output.dense",
    "roberta-large": "*.layer.7.output.dense",
    "roberta-tiny": "*.layer.1.output.dense",
    "decoder": "*.layers.1.mlp.down_proj",
    "mlp": "layers.1",
}


@takes_axes("task", "batch_size", "seq_len", "sketch", "rho")
def variance(
    model: ModelName,
    axes: Axes,
    layer: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Layers to watch, such as '*.output.dense'."),
    ] = None,
    every: Annotated[int, typer.Option(metavar="N", help="Watch one step in N.")] = 5,
    draws: Annotated[
        int, typer.Option(metavar="N", help="How often each S is drawn at the last step.")
    ] = 200,
    learning_rate: Annotated[float, typer.Option(metavar="RATE", help="Its highest value.")] = 3e-4,
    steps: Steps = None,
    data: Data = None,
    checkpoint: Checkpoint = None,
    device: Devices = None,
    file_format: FigureFormats = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Train a model, measure the gradient noise of a layer, and draw the paper's Figures 3 and 5.

    D²_SGD is the batch's own noise, by rows as in the paper's eq. 9 and by whole samples. D²_RMM is
    the noise that a sketch adds, as in eq. 11 and in its exact form. At the last step every sketch
    is drawn many times, to compare it with its closed form.

    The record and the figures go to runs/variance-MODEL-DEVICE, unless --out names another folder.
    Several sketches can be given, and one value for each other option. The defaults are gaussian at
    ρ 0.5 and 100 steps of 64 samples; decoders train on text, other models on digits.

    Examples:
      rmmbench variance roberta-tiny
      rmmbench variance roberta-tiny --sketch gaussian,oporp --rho 0.2
      rmmbench variance roberta-base --task cola --data glue --checkpoint roberta-base
    """
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables import data as as_data
    from rmmbench.report.tables.noise_table import noise_tables

    family = model.partition(":")[0]
    sketches = axes.pop("sketch", ("gaussian",))
    usual = {"task": "text" if family == "decoder" else "digits", "batch_size": 64, "rho": 0.5}
    asked = single(axes, **usual)
    patterns = words(layer) or tuple(filter(None, [_LAYERS.get(family)]))
    if not patterns:
        raise UsageError(f"--layer must be given for model '{model}', such as '*.output.dense'")
    grid = {"model": (model,), "sketch": sketches, "measure": ("memory", "training")}
    grid |= {name: (value,) for name, value in asked.items()}
    training: dict[str, Any] = {
        "max_steps": 100 if steps is None else steps,
        "eval_every": 100 if steps is None else steps,
        "log_every": every,
        "learning_rate": learning_rate,
        "data": data,
        "checkpoint": checkpoint,
        "draws": draws,
        "draw_rho": sorted({*_RATES, asked["rho"]}),
        "watch": patterns,
        "watch_every": every,
        "watch_rho": asked["rho"],
    }
    profile = _profile(model, grid, training)
    run = carry_out(Asked("variance", profile, device, out, f"variance-{model}", trains=True))
    drawn = _draw(run, file_format or "html")
    tables = noise_tables(run)
    if as_json:
        drawings = {path.stem: str(path) for path in drawn}
        write_json({"tables": as_data(tables), "figures": drawings})
    else:
        report(run, as_json=False)
        print_tables(tables)
        for path in drawn:
            print_path(path)
    end(run)


def _profile(model: str, grid: dict[str, Any], training: dict[str, Any]) -> "Profile":
    from pydantic import ValidationError

    from rmmbench.spec.profile import Profile
    from rmmbench.spec.strict import complaint

    data: dict[str, Any] = {"version": 1, "title": f"Gradient noise of {model} while it trains"}
    data |= {"figures": _FIGURES, "time_limit_seconds": 86400.0, "grid": (grid,)}
    try:
        return Profile.model_validate(data | {"training": training})
    except ValidationError as error:
        fault = error.errors()[0]
        name = next(part for part in reversed(fault["loc"]) if isinstance(part, str))
        flag = _FLAGS.get(name, name).replace("_", "-")
        raise UsageError(f"--{flag}{complaint(fault)}") from None


_FLAGS = {
    "max_steps": "steps",
    "eval_every": "steps",
    "log_every": "every",
    "watch_every": "every",
    "watch": "layer",
    "watch_rho": "rho",
    "draw_rho": "rho",
}
"""The options that set a setting of training of another name."""


def _draw(run: "Run", file_format: str) -> list[Path]:
    """Draw the figures that the records allow, and return their paths."""
    from rmmbench.report import figures

    data = figures.FigureData.of(run)
    able = [name for name in _FIGURES if figures.get(name).lacks(data) is None]
    drawings = {run.path / f"{name}.{file_format}": figures.get(name).draw(data) for name in able}
    figures.write(drawings, file_format)
    return list(drawings)
