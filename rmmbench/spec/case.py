"""One case: everything needed to measure one cell of a grid, or to train one model, again."""

import hashlib
import json
from functools import lru_cache
from typing import Any, Final, Literal

from pydantic import model_validator

from rmmbench.spec.measuring import TimelineSettings, TimingSettings, TrainingSettings
from rmmbench.spec.ranges import Count, Flag, Fraction, Name, Rho, Seed
from rmmbench.spec.strict import Strict

Device = Literal["cuda", "cpu", "predict"]
Where = Literal["all", "beneficial"]
Bits = Literal[2, 4, 8]
ActivationBits = Literal[1, 2, 3, 4]


class Case(Strict):
    """Everything needed to measure one cell of the grid again.

    Attributes:
        model: Registered name with its argument, such as "roberta-base" or "linear:768x3072".
        task: What is trained on, or whose shape this is, if any.
        batch_size: Samples a step.
        seq_len: Padded length in tokens; None for models without one.
        dtype: "float32", or "bfloat16" for autocast with float32 parameters.
        attention: How transformers computes attention; "eager" keeps the probabilities, as the
            paper's did.
        method: The way of saving memory, or several joined by "+"; "exact" is the unchanged model.
        sketch, rho, proj_dim, min_proj_dim, max_proj_dim, block_rows: Settings of the method rmm.
        bits: Of a number that exact-rp or quantize keeps; None for no fewer than it has.
        group_size: Numbers that share a scale in quantize, or make a sub-token in velora.
        activation_bits: Of an element that fewbit-activation keeps.
        budget: Of memory-budget: what the compiler may keep, 1 for all it would, 0 for the inputs.
        include, exclude: Patterns of the layers to convert, by qualified name.
        where: Of these layers "all", or those that gain by a sketch.
        share: Whether layers that read one tensor keep one sketch of it between them.
        memory_device: Where memory is measured or predicted; None if it is not.
        time_device: Where steps are timed or trained; None if they are not.
        projection_device: Where a sketch alone is timed beside the product of its layer; None if
            it is not.
        seed: Of parameters, data order and sketches.
        training: How it is trained, on the task's data; None if it is not.
        timeline: What of memory over time is followed; None if nothing is.
        gradient_draws: How often weight gradients are compared with exact's; None if they are not.
        memory_limit_bytes: A step with a higher peak is out of memory; None for the device's own.
    """

    model: Name
    task: Name | None = None
    batch_size: Count
    seq_len: Count | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    attention: Literal["eager", "sdpa"] = "eager"
    method: Name = "exact"
    sketch: Name | None = None
    rho: Rho | None = None
    proj_dim: Count | None = None
    min_proj_dim: Count = 1
    max_proj_dim: Count | None = None
    block_rows: Count | None = None
    bits: Bits | None = None
    group_size: Count | None = None
    activation_bits: ActivationBits | None = None
    budget: Fraction | None = None
    include: tuple[Name, ...] = ()
    exclude: tuple[Name, ...] = ()
    where: Where = "all"
    share: Flag = True
    memory_device: Device | None = None
    time_device: Literal["cuda", "cpu"] | None = None
    projection_device: Literal["cuda", "cpu"] | None = None
    seed: Seed = 0
    timing: TimingSettings = TimingSettings()
    training: TrainingSettings | None = None
    timeline: TimelineSettings | None = None
    gradient_draws: Count | None = None
    memory_limit_bytes: Count | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Case":
        if self.max_proj_dim is not None and self.max_proj_dim < self.min_proj_dim:
            limit = f"at least min_proj_dim ({self.min_proj_dim})"
            raise ValueError(f"max_proj_dim must be {limit}, got {self.max_proj_dim}")
        return self

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that name this case."""
        return _digest(self._told())

    @property
    def cell(self) -> str:
        """What this case shares with the exact one beside it: all but the method's settings."""
        return _cell(tuple(getattr(self, name) for name in _CELL))

    @property
    def device(self) -> str:
        """Where memory and time come from: "cuda", "cpu", "predict", or "predict+cpu"."""
        devices = (self.memory_device, self.time_device, self.projection_device)
        return "+".join(dict.fromkeys(device for device in devices if device))

    @property
    def label(self) -> str:
        """The method and its settings as people write them: "gaussian, unshared ρ=0.5"."""
        size = f" ρ={self.rho:g}" if self.rho is not None else ""
        size = f" proj_dim={self.proj_dim}" if self.proj_dim is not None else size
        words = [in_words(name, getattr(self, name)) for name in CHOICES]
        return ", ".join(filter(None, [stack_name(self.method, self.sketch), *words])) + size

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the stack, as they were written."""
        return tuple(self.method.split("+"))

    @property
    def shape(self) -> str:
        """The batch as people write it: "128×98"."""
        return f"{self.batch_size}×{self.seq_len}" if self.seq_len else str(self.batch_size)

    @property
    def title(self) -> str:
        """The case in one line: "mlp:64-128-10 digits 32 gaussian ρ=0.5 seed 3"."""
        place = " ".join(filter(None, [self.model, self.task if self.training else None]))
        seed = f" seed {self.seed}" if self.training else ""
        return f"{place} {self.shape} {self.label}{seed}"

    def as_exact(self) -> "Case":
        """Return the case of the unchanged model in the same cell."""
        return Case.model_validate({name: getattr(self, name) for name in _CELL})

    def _told(self) -> dict[str, Any]:
        """Return what names the case; None for fields that older records did not have."""
        absent = {name for name in _LATER if getattr(self, name) is None}
        return self.model_dump(mode="json", exclude=absent)


METHOD_SETTINGS: Final = (
    "method",
    "sketch",
    "rho",
    "proj_dim",
    "min_proj_dim",
    "max_proj_dim",
    "block_rows",
    "bits",
    "group_size",
    "activation_bits",
    "budget",
    "include",
    "exclude",
    "where",
    "share",
)
"""What the exact case of a cell leaves out."""

_CELL: Final = tuple(name for name in Case.model_fields if name not in METHOD_SETTINGS)

_LATER: Final = (
    *("bits", "group_size", "activation_bits", "budget"),
    *("training", "timeline", "gradient_draws", "memory_limit_bytes"),
)

DEFAULTS: Final[dict[tuple[str, str], Any]] = {
    ("quantize", "bits"): 8,
    ("quantize", "group_size"): 256,
    ("fewbit-activation", "activation_bits"): 3,
    ("memory-budget", "budget"): 0.5,
    ("velora", "group_size"): 64,
}
"""What a method's setting is where none is given."""

CHOICES: Final = {
    "block_rows": "blocks of {}",
    "bits": "{} bits",
    "group_size": "groups of {}",
    "activation_bits": "{}-bit activations",
    "budget": "budget {:g}",
    "where": "{} layers",
    "share": "unshared",
}


def in_words(name: str, value: object) -> str:
    """Return one of `CHOICES` as people write it: "blocks of 128"; "" for what is the default."""
    return "" if value == _USUAL[name] else CHOICES[name].format(value)


_USUAL: Final = {name: Case.model_fields[name].default for name in CHOICES}


def stack_name(method: str, sketch: str | None) -> str:
    """Return a stack of methods as people write it, rmm by its sketch: "oporp + quantize"."""
    return " + ".join(sketch or name if name == "rmm" else name for name in method.split("+"))


@lru_cache(maxsize=4096)
def _cell(values: tuple[Any, ...]) -> str:
    """Return the name of the exact case that has these values of `_CELL`; many cases share one."""
    return Case.model_validate(dict(zip(_CELL, values, strict=True))).key


def _digest(data: object) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
