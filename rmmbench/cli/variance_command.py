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

if TYPE_CHECKING:
    from rmmbench.results.store import Run


@takes_axes("task", "batch_size", "seq_len", "sketch", "rho")
def variance(
    model: ModelName,
    axes: Axes,
    bits: Annotated[
        int | None, typer.Option(metavar="8|4|2", help="Keep x_proj in so many bits a number.")
    ] = None,
    principal: Annotated[
        int | None, typer.Option(metavar="N", help="Keep an exact part in N principal features.")
    ] = None,
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
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a noise file, of every layer unless --layer."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model, measure the gradient noise of a layer, and draw the paper's Figures 3 and 5.

    D²_SGD is the batch's own noise, by rows as in the paper's eq. 9 and by whole samples. D²_RMM is
    the noise that a sketch adds, as in eq. 11 and in its exact form. At the last step every sketch
    is drawn many times, to compare it with its closed form.

    The record and the figures go to runs/variance-MODEL-DEVICE, unless --out names another folder.
    Several sketches can be given, and one value for each other option. The defaults are gaussian at
    ρ 0.5 and 100 steps of 64 samples; decoders train on text, other models on digits.

    With --bits the noise is that of sketch and rounding together, in closed form and drawn; with
    --principal that of what the exact part leaves.

    --save writes a noise file for planning: of each layer, averaged over the watched steps, the
    sums that tell the noise of every sketch at every ρ, and what 8, 4 and 2 bits add. They are of
    the exact training beside the sketched ones.

    Examples:
      rmmbench variance roberta-tiny
      rmmbench variance roberta-tiny --sketch gaussian,oporp --rho 0.2
      rmmbench variance roberta-tiny --sketch oporp --rho 0.4 --bits 8
      rmmbench variance roberta-tiny --sketch oporp --save noise.json
      rmmbench variance roberta-base --task cola --checkpoint roberta-base
    """
    from rmmbench.running.noise_run import layers_to_watch, noise_profile, save_noise

    sketches = axes.pop("sketch", ("gaussian",))
    training: dict[str, Any] = {"steps": 100 if steps is None else steps, "every": every}
    training |= {"draws": draws, "learning_rate": learning_rate}
    training |= {"data": data, "checkpoint": checkpoint}
    layers = layers_to_watch(words(layer), save)
    given = single(axes) | {"bits": bits, "principal": principal}
    profile = noise_profile(model, layers, sketches, given, training)
    run = carry_out(Asked("variance", profile, device, out, f"variance-{model}", trains=True))
    if save is not None:
        save_noise(run, save)
    _show(run, _draw(run, file_format or "html"), save, as_json=as_json)
    end(run)


def _show(run: "Run", drawn: list[Path], save: Path | None, *, as_json: bool) -> None:
    """Print the tables of a run and the paths of what was written, or all as JSON."""
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables import data as as_data
    from rmmbench.report.tables.noise_table import noise_tables

    tables = noise_tables(run)
    if as_json:
        drawings = {path.stem: str(path) for path in drawn}
        write_json({"tables": as_data(tables), "figures": drawings})
        return
    report(run, as_json=False)
    print_tables(tables)
    for path in [*drawn, *filter(None, [save])]:
        print_path(path)


def _draw(run: "Run", file_format: str) -> list[Path]:
    """Draw the figures that the records allow, and return their paths."""
    from rmmbench.report import figures
    from rmmbench.running.noise_run import FIGURES

    data = figures.FigureData.of(run)
    able = [name for name in FIGURES if figures.get(name).lacks(data) is None]
    drawings = {run.path / f"{name}.{file_format}": figures.get(name).draw(data) for name in able}
    figures.write(drawings, file_format)
    return list(drawings)
