"""The tables of advice: which layers to sketch, and what that saves in total."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rmmbench.report.labels import place
from rmmbench.report.tables.table import Column, Table, build
from rmmbench.results.case_columns import case_row, told_dtype
from rmmbench.results.tidy import CELL
from rmmbench.spec.case import Case
from rmmbench.units import format_bytes, format_percent

Layer = Mapping[str, Any]
_BYTES = ("kept_bytes", "sketched_bytes")
_FIELDS = {
    "kept for the backward pass": "saved_bytes",
    "peak of a training step": "peak_allocated_bytes",
}


def advice_tables(case: Case, advice: Mapping[str, Any], *, fold: bool) -> list[Table]:
    """Return the tables of the layers (like ones in one row if `fold`) and of the whole step."""
    left_out = [f"Left out: {count}, as {reason}." for reason, count in advice["left_out"].items()]
    layers = build(
        _lines(advice["layers"], fold=fold),
        _columns(case),
        tone=lambda line: "" if line["is_beneficial"] else "faint",
        warnings=tuple(left_out),
    )
    shared = (
        "one for layers that read one tensor" if case.settings["share"] else "one for each layer"
    )
    row = case_row(case) | {"dtype": told_dtype(case.dtype, advice["parameter_dtypes"])}
    said = f"{place(row, CELL)} · sketch {case.settings['sketch']}, {shared}"
    how = "Predicted on fake tensors; inputs are made up. MiB of a row are the sum over its layers."
    return [layers, build(list(_FIELDS), _totals(case, advice), notes=(said, how))]


def _columns(case: Case) -> list[Column[Layer]]:
    def size(n_bytes: int) -> str:
        return format_bytes(n_bytes) if n_bytes else ""

    return [
        Column("layer", "layer", is_number=False),
        Column("count", "", write=lambda count: f"×{count}" if count > 1 else ""),
        Column("kept_bytes", "kept\nnow", write=size),
        Column("sketched_bytes", f"at\nρ={case.settings['rho']:g}", write=size),
        Column("verdict", "verdict", _verdict, is_number=False),
    ]


def _totals(case: Case, advice: Mapping[str, Any]) -> list[Column[str]]:
    def number(stage: str, heading: str) -> Column[str]:
        return Column(f"{stage}_bytes", heading, lambda what: known(stage, what), format_bytes)

    def change(stage: str) -> Column[str]:
        return Column(
            f"{stage}_change",
            "",
            lambda what: known(stage, what) / known("exact", what) - 1,
            lambda fraction: format_percent(fraction, signed=True),
        )

    def known(stage: str, what: str) -> int:
        memory = advice[stage] or advice["exact"]
        n_bytes: int = getattr(memory, _FIELDS[what])
        return n_bytes

    return [
        Column("what", "", lambda what: what, is_number=False),
        number("exact", "now"),
        number("sketched", f"at ρ={case.settings['rho']:g}"),
        change("sketched"),
        number("least", "the least that any ρ reaches"),
        change("least"),
    ]


def _lines(layers: Sequence[Layer], *, fold: bool) -> list[Layer]:
    """Return a line per layer; if `fold`, layers that differ only in numbers are added up."""
    lines: dict[str, dict[str, Any]] = {}
    for layer in layers:
        alike = {name: value for name, value in layer.items() if name not in _BYTES}
        words = json.dumps(alike)
        key = re.sub(r"\d+", "*", words) if fold else words
        line = lines.setdefault(key, dict(layer) | {"count": 0} | dict.fromkeys(_BYTES, 0))
        line["count"] += 1
        for name in _BYTES:
            line[name] += layer[name]
    for line in lines.values():
        if line["count"] > 1:
            line["layer"] = re.sub(r"\d+", "*", line["layer"])
    return list(lines.values())


def _verdict(line: Layer) -> str:
    if line["is_beneficial"]:
        return f"sketch{_company(line)}"
    others = re.sub(r"\d+", "*", "; ".join(line["others"][:2]))
    return f"leave: kept by {others}" if others else f"leave: {line['reason']}"


def _company(line: Layer) -> str:
    """Return the layers that share its sketch, or its input: ", with key, value"."""
    shared, others = line["shares_with"], line["together_with"]
    if not others:
        return ""
    names = ", ".join(_short(name, line["layer"]) for name in shared or others)
    return f", with {names}" if shared else f", beside {names}"


def _short(name: str, layer: str) -> str:
    """Return the last part of a layer's name that differs: "k_proj" of "….k_proj.lora_A"."""
    parts, others = name.split("."), layer.replace("*", "0").split(".")
    while len(parts) > 1 and len(others) > 1 and parts[-1] == others[-1]:
        parts, others = parts[:-1], others[:-1]
    return parts[-1]
