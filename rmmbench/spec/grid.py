"""A grid: axes whose combinations become cases."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from rmmbench.errors import ProfileError, UnknownNameError, UsageError
from rmmbench.spec.case import DEFAULTS, ActivationBits, Bits, Case, Where
from rmmbench.spec.ranges import Count, Flag, Fraction, Name, Rho, Seed
from rmmbench.spec.strict import Strict, complaint
from rmmbench.spec.tasks import TASKS

WITHOUT_LENGTH = ("mlp", "linear", "import", "gcn2")
"""Models whose batches have no sequence unless one is given outright."""

Measure = Literal["memory", "time", "gradient", "training", "timeline", "projection"]

_AXES: dict[str, tuple[str, ...]] = {
    "rmm": ("sketch", "size"),
    "exact-rp": ("rho", "bits"),
    "quantize": ("bits", "group_size"),
    "fewbit-activation": ("activation_bits",),
    "memory-budget": ("budget",),
    "velora": ("group_size",),
}
"""What varies of a method; one that is not named has no settings."""

_CONVERTING = {"rmm", "exact-rp", "velora"}
_LIMITS = ("min_proj_dim", "max_proj_dim", "block_rows", "where", "share")


def _as_many(value: Any) -> Any:
    return (value,) if isinstance(value, int) else value


class Grid(Strict):
    """Axes whose every combination is a cell; in each, exact and every method are measured.

    `task` fills batch_size and seq_len where they are not given outright. Models of tokens need a
    seq_len; for the others it is one more leading dimension. block_rows holds for every sketch of
    the grid. `training` has what differs from the profile's own table of that name.
    """

    model: tuple[Name, ...] = Field(min_length=1)
    task: tuple[Name, ...] = ()
    batch_size: tuple[Count, ...] = ()
    seq_len: tuple[Count, ...] = ()
    dtype: tuple[Literal["float32", "bfloat16"], ...] = ("float32",)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    attention: Literal["eager", "sdpa"] = "eager"
    method: tuple[Name, ...] = ("rmm",)
    sketch: tuple[Name, ...] = ("gaussian",)
    rho: tuple[Rho, ...] = ()
    proj_dim: tuple[Count, ...] = ()
    min_proj_dim: Count = 1
    max_proj_dim: Count | None = None
    block_rows: Count | None = None
    bits: tuple[Bits, ...] = ()
    group_size: tuple[Count, ...] = ()
    activation_bits: tuple[ActivationBits, ...] = ()
    budget: tuple[Fraction, ...] = ()
    include: tuple[Name, ...] = ()
    exclude: tuple[Name, ...] = ()
    where: Where = "all"
    share: Flag = True
    seed: Annotated[tuple[Seed, ...], BeforeValidator(_as_many)] = Field(default=(0,), min_length=1)
    measure: tuple[Measure, ...] = Field(default=("memory", "time"), min_length=1)
    training: dict[str, Any] = Field(default_factory=dict)

    @field_validator("task")
    @classmethod
    def _known_tasks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in TASKS:
                raise ValueError(str(UnknownNameError("task", name, TASKS)))
        return names

    @field_validator("measure")
    @classmethod
    def _time_or_training(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if {"time", "training"} <= set(names):
            raise ValueError("must have 'time' or 'training', not both; make two grids")
        if "gradient" in names and "time" not in names:
            raise ValueError("must have 'time' beside 'gradient', which needs a device too")
        if "projection" in names and len(names) > 1:
            raise ValueError("must have 'projection' alone, which times no steps; make two grids")
        return names

    @model_validator(mode="after")
    def _projections_of_a_layer(self) -> "Grid":
        models = [name for name in self.model if name.partition(":")[0] != "linear"]
        if "projection" in self.measure and (models or self.method != ("rmm",)):
            got = f"model '{models[0]}'" if models else f"method {', '.join(self.method)}"
            need = "measure 'projection' must have models linear:INxOUT and method rmm"
            raise ValueError(f"{need}, got {got}")
        return self

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield what makes each case, the exact one of a cell before the others.

        Raises:
            UsageError: If nothing says how large a batch is, or training has no task.
            ProfileError: If nothing says how large a sketch is.
        """
        shared = {name: getattr(self, name) for name in ("optimizer", "attention")}
        axes = (self.model, self.task or (None,), self.dtype, self.seed)
        for model, task, dtype, seed in itertools.product(*axes):
            cell = shared | {"model": model, "task": task, "dtype": dtype, "seed": seed}
            for shape in self._shapes(model, task):
                yield cell | shape
                yield from (cell | shape | settings for settings in self._settings())

    def _shapes(self, model: str, task: str | None) -> Iterator[dict[str, Any]]:
        workload = TASKS[task] if task else None
        if workload is None and "training" in self.measure:
            raise UsageError("a grid that trains must give a task; or give --task")
        batch_sizes = self.batch_size or ((workload.batch_size,) if workload else ())
        if not batch_sizes:
            raise UsageError("a grid must give batch_size, or a task that has one")
        has_length = workload and model.partition(":")[0] not in WITHOUT_LENGTH
        seq_lens = self.seq_len or (workload.seq_len if workload and has_length else None,)
        for batch_size, seq_len in itertools.product(batch_sizes, seq_lens):
            yield {"batch_size": batch_size, "seq_len": seq_len}

    def _settings(self) -> Iterator[dict[str, Any]]:
        """Yield each method's settings; exact, which every cell has already, is left out."""
        for method in self.method:
            parts = method.split("+")
            if parts == ["exact"]:
                continue
            fixed: dict[str, Any] = {"method": method}
            if _CONVERTING & set(parts):
                fixed |= {name: getattr(self, name) for name in ("include", "exclude")}
            if "rmm" in parts:
                fixed |= {name: getattr(self, name) for name in _LIMITS}
            axes = [self._axis(part, name) for part in parts for name in _AXES.get(part, ())]
            for varied in itertools.product(*axes):
                yield fixed | {name: value for one in varied for name, value in one.items()}

    def _axis(self, method: str, name: str) -> list[dict[str, Any]]:
        """Return what one axis of a method adds to the settings of each of its cases."""
        if name == "size":
            sizes = [{"rho": rho} for rho in self.rho]
            sizes += [{"proj_dim": size} for size in self.proj_dim]
            if not sizes:
                need = f"a grid with method '{method}' must give rho or proj_dim"
                raise ProfileError(f"{need}; or give --rho")
            return sizes
        values = getattr(self, name)
        if not values and name != "sketch":
            values = (DEFAULTS.get((method, name)),)
        return [{name: value} for value in values]


def case_from(data: Mapping[str, Any]) -> Case:
    """Return the case of these settings.

    Raises:
        UsageError: If a setting cannot be.
    """
    try:
        return Case.model_validate(data)
    except ValidationError as error:
        fault = error.errors()[0]
        name = "".join(map(str, fault["loc"]))
        raise UsageError(f"{name}{complaint(fault)}".removeprefix(": ")) from None
