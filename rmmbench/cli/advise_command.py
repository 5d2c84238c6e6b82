"""`rmmbench advise`: which linear layers of a model are worth a sketch, and what all would save."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmmbench.cli.flags import Attention, Dtype
from rmmbench.cli.streams import write_json

if TYPE_CHECKING:
    from rmmbench.spec.case import Case


def advise(
    model: Annotated[
        str, typer.Argument(help="A name of `rmmbench list models`, or hf:, import:.")
    ],
    rho: Annotated[float, typer.Option(help="Compression rate, in (0, 1].")] = 0.5,
    sketch: Annotated[str, typer.Option(help="A name of `rmmbench list sketches`.")] = "oporp",
    batch_size: Annotated[int | None, typer.Option(help="The task's, or 32.")] = None,
    seq_len: Annotated[int | None, typer.Option(help="The task's, or 128 tokens.")] = None,
    task: Annotated[str | None, typer.Option(help="A GLUE task, for its shape.")] = None,
    dtype: Annotated[Dtype, typer.Option(help="bfloat16 is autocast.")] = Dtype.FLOAT32,
    attention: Annotated[
        Attention, typer.Option(help="How transformers computes it.")
    ] = Attention.EAGER,
    share: Annotated[bool, typer.Option(help="One sketch for Q, K and V; for gate and up.")] = True,
    every_layer: Annotated[
        bool, typer.Option("--every-layer", help="A line a layer, not one for all alike.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Tell which linear layers gain by a sketch of their input, and who else keeps the others'.

    One training step is followed on fake tensors; nothing is allocated.

    Examples:
      rmmbench advise roberta-base --task mrpc
      rmmbench advise hf:llama --batch-size 1 --seq-len 2048 --rho 0.1
    """
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.advice_tables import advice_tables
    from rmmbench.running.advising import advise as advise_case

    settings = {"sketch": sketch, "rho": rho, "dtype": dtype.value, "attention": attention.value}
    case = _case(model, task, batch_size, seq_len, settings | {"share": share})
    advice = advise_case(case)
    if as_json:
        memory = ("exact", "sketched", "least")
        advice |= {name: advice[name] and advice[name].model_dump() for name in memory}
        write_json({"case": case.flat()} | advice)
        return
    print_tables(advice_tables(case, advice, fold=not every_layer))


def _case(
    model: str,
    task: str | None,
    batch_size: int | None,
    seq_len: int | None,
    settings: dict[str, Any],
) -> "Case":
    from rmmbench.errors import UnknownNameError
    from rmmbench.spec.grid import WITHOUT_LENGTH, case_from
    from rmmbench.spec.tasks import TASKS

    if task is not None and task not in TASKS:
        raise UnknownNameError("task", task, TASKS)
    length = None if model.partition(":")[0] in WITHOUT_LENGTH else 128
    usual = (TASKS[task].batch_size, length and TASKS[task].seq_len) if task else (32, length)
    asked: dict[str, Any] = {"model": model, "task": task, "method": "rmm", "where": "beneficial"}
    asked["batch_size"] = usual[0] if batch_size is None else batch_size
    asked["seq_len"] = usual[1] if seq_len is None else seq_len
    return case_from(asked | {"memory_device": "predict"} | settings)
