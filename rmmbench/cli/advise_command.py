"""`rmmbench advise`: which linear layers of a model are worth a sketch, and what all would save."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rmmbench.cli.options import AsJson, Axes, ModelName, single, takes_axes
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import note

if TYPE_CHECKING:
    from rich.table import Table

    from rmmbench.spec.case import Case


@takes_axes("task", "batch_size", "seq_len", "dtype", "attention", "sketch", "rho")
def advise(
    model: ModelName,
    axes: Axes,
    share: Annotated[bool, typer.Option(help="One sketch for Q, K and V; for gate and up.")] = True,
    every_layer: Annotated[
        bool, typer.Option("--every-layer", help="Print a line a layer, not one for all alike.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell which linear layers gain by a sketch of their input, and who else keeps the others'.

    One training step is followed on fake tensors; nothing is allocated. Each option takes one
    value. Without them: oporp at ρ 0.5, float32, eager attention, and the shape of the task, or
    else 32 samples of 128 tokens.

    Examples:
      rmmbench advise roberta-base --task mrpc
      rmmbench advise hf:llama --batch-size 1 --seq-len 2048 --rho 0.1
    """
    from rmmbench.running.advising import advise as advise_case

    settings = single(axes, sketch="oporp", rho=0.5, dtype="float32", attention="eager")
    case = _case(settings | {"model": model, "share": share})
    note(f"following a training step of {model}; nothing is allocated")
    advice = advise_case(case)
    if as_json:
        memory = ("exact", "sketched", "least")
        advice |= {name: advice[name] and advice[name].model_dump() for name in memory}
        write_json({"case": case.model_dump(mode="json")} | advice)
        return
    _show(case, advice, every_layer=every_layer)


def _case(settings: dict[str, Any]) -> "Case":
    from rmmbench.errors import UnknownNameError
    from rmmbench.spec.grid import WITHOUT_LENGTH, case_from
    from rmmbench.spec.tasks import TASKS

    task = settings.get("task")
    if task is not None and task not in TASKS:
        raise UnknownNameError("task", task, TASKS)
    length = None if settings["model"].partition(":")[0] in WITHOUT_LENGTH else 128
    usual = {"batch_size": 32, "seq_len": length, "method": "rmm", "where": "beneficial"}
    if task is not None:
        usual |= {"batch_size": TASKS[task].batch_size, "seq_len": length and TASKS[task].seq_len}
    return case_from(usual | {"memory_device": "predict"} | settings)


def _show(case: "Case", advice: dict[str, Any], *, every_layer: bool) -> None:
    from rich.text import Text

    from rmmbench.cli.table_command import stdout
    from rmmbench.report.labels import place
    from rmmbench.results.record import told_dtype
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
    shared = "one for layers that read one tensor" if case.share else "one for each layer"
    row = case.model_dump() | {"dtype": told_dtype(case.dtype, advice["parameter_dtypes"])}
    said = f"{place(row, CELL)} · sketch {case.sketch}, {shared}"
    how = "Predicted on fake tensors; inputs are made up. MiB of a line are of all its layers."
    console.print(Text(f"{said}\n{how}", style="dim"))


def _layers(case: "Case", layers: Sequence[dict[str, Any]], *, fold: bool) -> "Table":
    from rich.text import Text

    from rmmbench.units import format_bytes

    table = _table("layer", "", "kept\nnow", f"at\nρ={case.rho:g}", "verdict")
    table.columns[-1].justify = "left"
    for line in _lines(layers, fold=fold):
        kept, sketched = (format_bytes(line[name]) if line[name] else "" for name in _BYTES)
        many = f"×{line['count']}" if line["count"] > 1 else ""
        cells = (line["layer"], many, kept, sketched, _verdict(line))
        table.add_row(*map(Text, cells), style="" if line["is_beneficial"] else "dim")
    return table


def _totals(case: "Case", advice: dict[str, Any]) -> "Table":
    from rmmbench.units import format_bytes, format_percent

    table = _table("", "now", f"at ρ={case.rho:g}", "", "the least that any ρ reaches", "")
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
