"""`rmmbench advise`: which linear layers of a model are worth a sketch, and what all would save."""

from typing import Annotated

import typer

from rmmbench.cli.options import AsJson, Axes, ModelName, single, takes_axes
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import is_quiet, note


@takes_axes(
    *("task", "batch_size", "seq_len", "dtype", "attention", "attention_kernel", "accumulate"),
    *("ranks", "parallel", "gpu", "sketch", "rho"),
)
def advise(
    model: ModelName,
    axes: Axes,
    share: Annotated[
        bool, typer.Option(help="Q, K and V share a sketch; so do gate and up.")
    ] = True,
    every_layer: Annotated[
        bool, typer.Option("--every-layer", help="Print a line for each layer, not for each kind.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which linear layers gain by a sketch of their input, and what else keeps the others'.

    One training step runs on fake tensors; nothing is allocated. Each option takes one value. The
    defaults are oporp at ρ 0.5, float32, eager attention, and the shape of the task or else 32
    samples of 128 tokens.

    Examples:
      rmmbench advise roberta-base --task mrpc
      rmmbench advise hf:llama --batch-size 1 --seq-len 2048 --rho 0.1
    """
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.advice_tables import advice_tables
    from rmmbench.running.advising import advise as advise_case
    from rmmbench.running.one_case import case_of

    settings = single(axes, sketch="oporp", rho=0.5, dtype="float32", attention="eager")
    task, *shape = (settings.pop(name, None) for name in ("task", "batch_size", "seq_len"))
    about = {"where": "beneficial", "memory_device": "predict", "share": share}
    case = case_of(model, task, shape[0], shape[1], settings | about)
    note(f"following a training step of {model}; nothing is allocated")
    advice = advise_case(case, quiet=is_quiet())
    if as_json:
        memory = ("exact", "sketched", "least")
        advice |= {name: advice[name] and advice[name].model_dump() for name in memory}
        write_json({"case": case.flat()} | advice)
        return
    print_tables(advice_tables(case, advice, fold=not every_layer))
