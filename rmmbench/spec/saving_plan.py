"""A saving plan: which layers keep what, and which blocks are computed again, as a TOML file.

    version = 1
    model = "roberta-base"
    checkpoint = ["roberta.encoder.layer.0-3"]

    [[layers]]
    names = ["roberta.encoder.layer.4-11.output.dense"]
    rho = 0.8
    bits = 4

`rmmbench plan` writes one. Names may have ranges of numbers (`name_ranges`), or be patterns such as
"*.output.dense". `shapes` tells which model it is for; a plan written by hand may leave it out.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from rmmbench.errors import PlanError
from rmmbench.spec.case import digest
from rmmbench.spec.choices import Attention, Dtype, Optimizer, Parallel
from rmmbench.spec.name_ranges import expanded
from rmmbench.spec.ranges import Count, Line, Name, NotNegative, Rho
from rmmbench.spec.strict import Strict
from rmmbench.spec.toml_file import fault_in, read_toml
from rmmbench.units import format_count

PLAN_VERSION: Final = 1

_AGAIN: Final = {
    "checkpoint": ("{}", "block"),
    "checkpoint_attention": ("{}", "attention"),
    "checkpoint_operators": ("operators of {}", "block"),
    "checkpoint_products": ("{}", "product"),
}
"""What is computed again, in words."""
_FIRST: Final = {"checkpoint", "checkpoint_attention", "layers"}


def _ranged(text: str) -> str:
    expanded(text)
    return text


Ranged = Annotated[Name, AfterValidator(_ranged)]
"""A qualified name, several by ranges of numbers, or a pattern."""

Shape = Annotated[str, Field(pattern=r"^[1-9]\d*x[1-9]\d*$")]
"""out_features x in_features, as in "768x3072"."""


class LayerChoice(Strict):
    """What some linear layers keep of their input.

    Attributes:
        names: Of the layers.
        sketch: By name.
        rho: Compression rate; 1 for no sketch.
        bits: Of each number that is kept; None for all that it has.
    """

    names: tuple[Ranged, ...] = Field(min_length=1)
    sketch: Name = "oporp"
    rho: Rho = 1.0
    bits: Literal[8, 4, 2] | None = None

    @model_validator(mode="after")
    def _saves(self) -> "LayerChoice":
        if self.rho == 1 and self.bits is None:
            raise ValueError("must have rho below 1, or bits; layers left exact are not listed")
        return self

    @property
    def words(self) -> str:
        """The choice as people write it: "oporp ρ=0.8 in 4 bits"."""
        sketch = f"{self.sketch} ρ={self.rho:g}" if self.rho < 1 else "no sketch"
        return f"{sketch}, {self.bits} bits" if self.bits else sketch


class Predicted(Strict):
    """What was predicted of a plan when it was made; nothing reads it again.

    Attributes:
        peak_bytes: What a step needs: reserved where anything is, else allocated.
        exact_peak_bytes: The same of the unchanged model.
        limit_bytes: What it had to stay within; None if memory was not limited.
        noise: E‖Ĝ − G‖²/‖G‖² over the weights of all linear layers.
        noise_by: What `noise` was computed from.
        relative_throughput: Steps a second ÷ the unchanged model's.
        time_by: What `relative_throughput` was computed from.
        inflation: 1 + noise ÷ SGD's own; None if that is not known.
    """

    peak_bytes: Count
    exact_peak_bytes: Count
    limit_bytes: Count | None = None
    noise: NotNegative
    noise_by: Line
    relative_throughput: NotNegative
    time_by: Line
    inflation: NotNegative | None = None


class SavingPlan(Strict):
    """The content of a plan's file.

    Attributes:
        title: What it is, in one line.
        model: Whose it is; of a model of one's own any name.
        task, batch_size, seq_len, dtype, optimizer, attention, ranks, parallel, gpu: What it was
            made for.
        checkpoint: Blocks that are computed again in the backward pass.
        checkpoint_attention: Blocks whose attention alone is.
        checkpoint_operators: Blocks of which single operators are: normalisation, activation and
            dropout.
        checkpoint_products: Linear layers of these blocks whose output is computed again too.
        layers: What layers keep. Those that are not listed are exact.
        shapes: Shape by name of every linear layer of the model.
    """

    version: Literal[1] = PLAN_VERSION
    title: Line = ""
    model: Name
    task: Name | None = None
    batch_size: Count | None = None
    seq_len: Count | None = None
    dtype: Dtype | None = None
    optimizer: Optimizer | None = None
    attention: Attention | None = None
    ranks: Count | None = None
    parallel: Parallel | None = None
    gpu: Name | None = None
    checkpoint: tuple[Ranged, ...] = ()
    checkpoint_attention: tuple[Ranged, ...] = ()
    checkpoint_operators: tuple[Ranged, ...] = ()
    checkpoint_products: tuple[Ranged, ...] = ()
    predicted: Predicted | None = None
    layers: tuple[LayerChoice, ...] = ()
    shapes: dict[Ranged, Shape] = Field(default_factory=dict)

    def __hash__(self) -> int:
        """Hash all that it says."""
        return hash(self.model_dump_json())

    def __str__(self) -> str:
        """Return its title, and what tells it from others."""
        return f"{self.title or self.model} ({self.digest})"

    @property
    def is_exact(self) -> bool:
        """Whether gradients stay those of the unchanged model."""
        return not self.layers

    @property
    def does_nothing(self) -> bool:
        """Whether the model stays as it is."""
        return not (self.layers or any(getattr(self, name) for name in _AGAIN))

    @property
    def digest(self) -> str:
        """Six hexadecimal digits that name what it does, whatever was predicted of it."""
        does = self.model_dump(mode="json", include={*_AGAIN, "layers"})
        # What came later counts only where it is used, so that names stay what they were.
        return digest({key: value for key, value in does.items() if value or key in _FIRST})[:6]

    @property
    def words(self) -> str:
        """What it does as people write it."""
        told = []
        for name, (what, noun) in _AGAIN.items():
            texts = getattr(self, name)
            if texts:
                told.append(f"{what.format(_counted(texts, noun))} computed again")
        told += [f"{_counted(each.names, 'layer')}: {each.words}" for each in self.layers]
        return "; ".join(told) or "nothing"

    def shape_of(self) -> dict[str, str]:
        """Return the shape of each linear layer by its own name."""
        return {name: shape for text, shape in self.shapes.items() for name in expanded(text)}

    def toml(self) -> str:
        """Return the content of its file."""
        data = self.model_dump(mode="json", exclude_none=True)
        tables = {name: data.pop(name) for name in ("predicted", "shapes") if name in data}
        layers = data.pop("layers")
        # A file in which nothing is listed says so.
        lines = [f"{name} = {_value(value)}" for name, value in data.items() if value != ""]
        for layer in layers:
            lines += ["", "[[layers]]", *(f"{key} = {_value(layer[key])}" for key in layer)]
        for name, table in tables.items():
            keys = (f"{json.dumps(key) if '.' in key else key}" for key in table)
            rows = zip(keys, table.values(), strict=True)
            lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in rows)]
        return "\n".join(lines) + "\n"


def _counted(names: Iterable[str], noun: str) -> str:
    return format_count(sum(len(expanded(name)) for name in names), noun)


def read_plan(path: str | Path) -> SavingPlan:
    """Return the plan of a file.

    Raises:
        PlanError: If it cannot be read, or is not a plan.
    """
    path = Path(path)
    data = read_toml(path, "plan", PlanError)
    try:
        return SavingPlan.model_validate(data)
    except ValidationError as error:
        tables: dict[str, type[Strict]] = {"layers": LayerChoice, "predicted": Predicted}
        raise PlanError(fault_in(str(path), error, SavingPlan, tables)) from None


def as_plan(told: Any) -> Any:
    """Return the plan that a path names; anything else as it is.

    Raises:
        ValueError: If the file is not a plan.
    """
    if not isinstance(told, str | Path):
        return told
    try:
        return read_plan(told)
    except PlanError as error:
        raise ValueError(f": {error}") from None


AnyPlan = Annotated[SavingPlan, BeforeValidator(as_plan)]
"""A plan, or the path of its file."""


def _value(value: Any) -> str:
    """Return a value as TOML writes it; a text of JSON is one of TOML too."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def named(plan: SavingPlan) -> Iterator[tuple[str, LayerChoice]]:
    """Yield each text of a plan that names layers, with what they keep."""
    for choice in plan.layers:
        for text in choice.names:
            yield text, choice
