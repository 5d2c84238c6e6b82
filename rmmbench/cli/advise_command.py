"""`rmmbench advise`: which linear layers of a model are worth a sketch, and what all would save."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rmmbench.cli.flags import Attention, Dtype
from rmmbench.cli.streams import write_json

if TYPE_CHECKING:
    from rich.table import Table

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
    from rmmbench.running.advising import advise as advise_case

    settings = {"sketch": sketch, "rho": rho, "dtype": dtype.value, "attention": attention.value}
    case = _case(model, task, batch_size, seq_len, settings | {"share": share})
    advice = advise_case(case)
    if as_json:
        memory = ("exact", "sketched", "least")
        advice |= {name: advice[name] and advice[name].model_dump() for name in memory}
        write_json({"case": case.flat()} | advice)
        return
    _show(case, advice, every_layer=every_layer)


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


def _show(case: "Case", advice: dict[str, Any], *, every_layer: bool) -> None:
    from rich.text import Text

    from rmmbench.cli.table_command import stdout
    from rmmbench.report.labels import place
    from rmmbench.results.record import case_row, told_dtype
    from rmmbench.results.tidy import CELL

    console = stdout()
    console.print()
    console.print(_layers(case, advice["layers"], fold=not every_layer))
    console.print()
    for reason, count in advice["left_out"].items():
        console.print(Text(f"Left out: {count}, as {reason}."))
    if advice["left_out"]:
        console.print()
    console.print(_totals(case, advice))
    console.print()
    shared = (
        "one for layers that read one tensor" if case.settings["share"] else "one for each layer"
    )
    row = case_row(case) | {"dtype": told_dtype(case.dtype, advice["parameter_dtypes"])}
    said = f"{place(row, CELL)} · sketch {case.settings['sketch']}, {shared}"
    how = "Predicted on fake tensors; inputs are made up. MiB of a line are of all its layers."
    console.print(Text(f"{said}\n{how}", style="dim"))


def _layers(case: "Case", layers: Sequence[dict[str, Any]], *, fold: bool) -> "Table":
    from rich.text import Text

    from rmmbench.units import format_bytes

    table = _table("layer", "", "kept\nnow", f"at\nρ={case.settings['rho']:g}", "verdict")
    table.columns[-1].justify = "left"
    for line in _lines(layers, fold=fold):
        kept, sketched = (format_bytes(line[name]) if line[name] else "" for name in _BYTES)
        many = f"×{line['count']}" if line["count"] > 1 else ""
        cells = (line["layer"], many, kept, sketched, _verdict(line))
        table.add_row(*map(Text, cells), style="" if line["is_beneficial"] else "dim")
    return table


def _totals(case: "Case", advice: dict[str, Any]) -> "Table":
    from rmmbench.units import format_bytes, format_percent

    table = _table(
        "", "now", f"at ρ={case.settings['rho']:g}", "", "the least that any ρ reaches", ""
    )
    for heading, field in _FIELDS.items():
        now = getattr(advice["exact"], field)
        cells = [heading, format_bytes(now)]
        for memory in (advice["sketched"], advice["least"]):
            value = now if memory is None else getattr(memory, field)
            cells += [format_bytes(value), format_percent(value / now - 1, signed=True)]
        table.add_row(*cells)
    return table


def _table(*headings: str) -> "Table":
    """Return an empty table, its first column set to the left and the others to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        justify: Literal["left", "right"] = "right" if number else "left"
        table.add_column(Text(heading), justify=justify, no_wrap=number == 0)
    return table


_FIELDS = {
    "kept for the backward pass": "saved_bytes",
    "peak of a training step": "peak_allocated_bytes",
}
_BYTES = ("kept_bytes", "sketched_bytes")


def _lines(layers: Sequence[dict[str, Any]], *, fold: bool) -> Iterable[dict[str, Any]]:
    """Return a line for each layer, or for all those that are alike but for a number, added up."""
    lines: dict[str, dict[str, Any]] = {}
    for layer in layers:
        alike = {name: value for name, value in layer.items() if name not in _BYTES}
        words = json.dumps(alike)
        key = re.sub(r"\d+", "*", words) if fold else words
        line = lines.setdefault(key, layer | {"count": 0} | dict.fromkeys(_BYTES, 0))
        line["count"] += 1
        for name in _BYTES:
            line[name] += layer[name]
    for line in lines.values():
        if line["count"] > 1:
            line["layer"] = re.sub(r"\d+", "*", line["layer"])
    return lines.values()


def _verdict(line: dict[str, Any]) -> str:
    if line["is_beneficial"]:
        return f"sketch{_company(line)}"
    others = re.sub(r"\d+", "*", "; ".join(line["others"][:2]))
    return f"leave: kept by {others}" if others else f"leave: {line['reason']}"


def _company(line: dict[str, Any]) -> str:
    """Return with whom a layer keeps one sketch, or beside whom its own: ", with key, value"."""
    shared, others = line["shares_with"], line["together_with"]
    if not others:
        return ""
    names = ", ".join(_short(name, line["layer"]) for name in shared or others)
    return f", with {names}" if shared else f", beside {names}"


def _short(name: str, layer: str) -> str:
    """Return what of a layer's name differs from another's: "k_proj" of "….k_proj.lora_A"."""
    parts, others = name.split("."), layer.replace("*", "0").split(".")
    while len(parts) > 1 and len(others) > 1 and parts[-1] == others[-1]:
        parts, others = parts[:-1], others[:-1]
    return parts[-1]
