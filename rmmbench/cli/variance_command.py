"""`rmmbench variance`: how noisy a layer's weight gradient is while a model trains."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmmbench.cli.axes import Sketches
from rmmbench.cli.flags import Device, FigureFormat, words
from rmmbench.cli.run_cases import carry_out, end
from rmmbench.cli.telling import print_path
from rmmbench.errors import UsageError

if TYPE_CHECKING:
    from rmmbench.results.store import Run
    from rmmbench.spec.profile import Profile

# A dense S at a larger ρ takes longer to draw so often than the model to train.
_RATES = (0.05, 0.1, 0.2, 0.5)
_FIGURES = ("figure3", "figure5", "noise")
# The paper's layer where there is one, else one in the middle.
_LAYERS = {
    "roberta-base": "*.layer.7.output.dense",
    "roberta-large": "*.layer.7.output.dense",
    "roberta-tiny": "*.layer.1.output.dense",
    "decoder": "*.layers.1.mlp.down_proj",
    "mlp": "layers.1",
}


def variance(
    model: Annotated[str, typer.Argument(help="A name of `rmmbench list models`, or hf:.")],
    task: Annotated[
        str | None, typer.Option(help="What to train on; text for decoders, else digits.")
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="Patterns of layers to watch; repeat or use commas.")
    ] = None,
    sketch: Sketches = None,
    rho: Annotated[float, typer.Option(help="Compression rate, in (0, 1].")] = 0.5,
    batch_size: Annotated[int, typer.Option(help="Samples a step.")] = 64,
    seq_len: Annotated[int | None, typer.Option(help="The task's if not given.")] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 100,
    every: Annotated[int, typer.Option(help="Of how many steps one is watched.")] = 5,
    draws: Annotated[int, typer.Option(help="How often each S is drawn at the last step.")] = 200,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 3e-4,
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the task's data lies.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Pretrained weights: a name, or a directory.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.AUTO,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; runs/variance-MODEL if not given.")
    ] = None,
    file_format: Annotated[
        FigureFormat, typer.Option("--format", help="Of the figures.")
    ] = FigureFormat.HTML,
) -> None:
    """Train a model, tell the gradient noise of a layer, and draw the paper's Figures 3 and 5.

    D²_SGD is the noise that the batch has of its own, by rows as in the paper's eq. 9 and by whole
    samples; D²_RMM is what a sketch adds, as in eq. 11 and as it is. At the last step every sketch
    is drawn many times, beside its closed form.

    Examples:
      rmmbench variance roberta-tiny
      rmmbench variance roberta-tiny --sketch gaussian,oporp --rho 0.2
      rmmbench variance roberta-base --task cola --data glue --checkpoint roberta-base
    """
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.noise_table import noise_tables
    from rmmbench.running.plan import make_plan

    family = model.partition(":")[0]
    patterns = words(layer) or tuple(filter(None, [_LAYERS.get(family)]))
    if not patterns:
        raise UsageError(f"--layer must be given for model '{model}', such as '*.output.dense'")
    grid = {
        "model": (model,),
        "task": (task or ("text" if family == "decoder" else "digits"),),
        "batch_size": (batch_size,),
        "seq_len": (seq_len,) if seq_len else (),
        "sketch": words(sketch) or ("gaussian",),
        "rho": (rho,),
        "measure": ("memory", "training"),
    }
    training: dict[str, Any] = {
        "max_steps": steps,
        "eval_every": steps,
        "log_every": every,
        "data": data,
    }
    training |= {"learning_rate": learning_rate, "checkpoint": checkpoint, "draws": draws}
    training |= {"watch": patterns, "watch_every": every, "watch_rho": rho}
    profile = _profile(model, grid, training | {"draw_rho": sorted({*_RATES, rho})})
    plan = make_plan(profile, device.value)
    if not any(case.training for case in plan.cases):
        raise UsageError(f"device '{device.value}' cannot train; use cuda, cpu or auto")
    path = out or Path("runs") / f"variance-{model.replace(':', '-').replace('/', '-')}"
    run = carry_out("variance", profile, plan, path)
    print_tables(noise_tables(run))
    _draw(run, file_format.value)
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
        raise UsageError(f"{name}{complaint(fault)}") from None


def _draw(run: "Run", file_format: str) -> None:
    """Draw what the records allow, and print the paths."""
    from rmmbench.report import figures

    data = figures.FigureData.of(run)
    able = [name for name in _FIGURES if figures.get(name).lacks(data) is None]
    drawings = {run.path / f"{name}.{file_format}": figures.get(name).draw(data) for name in able}
    figures.write(drawings, file_format)
    for file in drawings:
        print_path(file)
