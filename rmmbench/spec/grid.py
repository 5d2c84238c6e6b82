"""A grid: axes whose combinations become cases."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from rmmbench.errors import ProfileError, UnknownNameError, UsageError, did_you_mean
from rmmbench.spec.case import STEP, Case
from rmmbench.spec.choices import Attention, Dropping, Dtype, Kernel, Optimizer, Parallel, Update
from rmmbench.spec.flat import EXACT
from rmmbench.spec.gpus import find_gpu
from rmmbench.spec.known_settings import Known, known
from rmmbench.spec.measuring import TimelineSettings, TimingSettings, TrainingSettings
from rmmbench.spec.ranges import Count, Flag, Name, Positive, Seed
from rmmbench.spec.steps import Of, chosen_of, settings_class
from rmmbench.spec.strict import Strict, complaint
from rmmbench.spec.tasks import TASKS

WITHOUT_LENGTH = ("mlp", "linear", "import", "published", "gcn2")
"""Models whose batches have no sequence unless one is given outright."""

Measure = Literal["memory", "time", "gradient", "training", "timeline", "projection"]


def _as_many(value: Any) -> Any:
    return (value,) if isinstance(value, int) else value


class Grid(Strict):
    """Axes whose every combination is a cell; in each, exact and every method are measured.

    `task` fills batch_size and seq_len where they are not given outright. Models of tokens need a
    seq_len; for the others it is one more leading dimension. `training` has what differs from the
    profile's own table of that name.

    Every setting of a method or a sketch is a key too, and holds for those of the grid that have
    it: several values of one that varies, one of another. `grid_class` is the class with them.
    """

    model: tuple[Name, ...] = Field(min_length=1)
    task: tuple[Name, ...] = ()
    batch_size: tuple[Count, ...] = ()
    seq_len: tuple[Count, ...] = ()
    dtype: tuple[Dtype, ...] = ("float32",)
    optimizer: Optimizer = "adam"
    attention: Attention = "eager"
    attention_kernel: Kernel | None = None
    accumulate: Count = 1
    drop_gradients: Dropping = "after-step"
    zeroed_gradients: Flag = False
    clip_norm: Positive | None = None
    update: Update | None = None
    ranks: Annotated[tuple[Count, ...], BeforeValidator(_as_many)] = Field(
        default=(1,), min_length=1
    )
    parallel: Parallel | None = None
    reshard: Flag = True
    method: tuple[Name, ...] = ("rmm",)
    gpu: tuple[Name, ...] = ()
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

    @field_validator("gpu")
    @classmethod
    def _known_gpus(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            find_gpu(name)
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
        others = [name for name in self.method if name not in ("rmm", EXACT)]
        if "projection" in self.measure and (models or others):
            got = f"model '{models[0]}'" if models else f"method '{others[0]}'"
            need = "measure 'projection' must have models linear:INxOUT and method rmm"
            raise ValueError(f"{need}, got {got}")
        return self

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield what makes each case, the exact one of a cell before the others.

        Raises:
            UsageError: If nothing says how large a batch is, or training has no task.
            ProfileError: If nothing says how large a sketch is.
        """
        shared = {name: getattr(self, name) for name in ("optimizer", "attention", *STEP)}
        names = ("model", "task", "dtype", "ranks", "gpu", "seed")
        ways: list[dict[str, Any]] | None = None
        for values in itertools.product(*(getattr(self, name) or (None,) for name in names)):
            cell = shared | dict(zip(names, values, strict=True))
            model, task = cell["model"], cell["task"]
            # A grid may compare one device with many.
            if cell["ranks"] == 1 and max(self.ranks) > 1:
                cell |= {"parallel": None, "reshard": True}
            for shape in self._shapes(model, task):
                yield cell | shape
                ways = list(self._settings()) if ways is None else ways
                yield from (cell | shape | settings for settings in ways)

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

    def given(self, name: str) -> tuple[Any, ...]:
        """Return what the grid says of a setting: some values, or none."""
        value, setting = getattr(self, name), known()[name]
        if setting.said.varies:
            return tuple(value)
        return () if value == setting.absent else (value,)

    def used(self) -> set[str]:
        """Return the settings that the grid's methods have, and their sketches."""
        each = (self._names(Of("methods"), part) for m in self.method for part in m.split("+"))
        return {name for names in each for name in names}

    def _names(self, of: Of, owner: str) -> Iterator[str]:
        for name, field in settings_class(of.folder, owner).model_fields.items():
            yield name
            inner = chosen_of(field)
            for choice in self.given(name) if inner else ():
                yield from self._names(inner, choice)  # type: ignore[arg-type]

    def _settings(self) -> Iterator[dict[str, Any]]:
        """Yield each method's settings; exact, which every cell has already, is left out."""
        for method in self.method:
            if method != EXACT:
                parts = [list(self._ways(Of("methods"), part)) for part in method.split("+")]
                for ways in itertools.product(*parts):
                    said = _joined(ways)
                    if said is not None:
                        yield {"method": method} | said

    def _ways(self, of: Of, owner: str) -> Iterator[dict[str, Any]]:
        """Yield the settings of a method, or a sketch, one way after the other."""
        fields = settings_class(of.folder, owner).model_fields
        axes: list[list[dict[str, Any]]] = []
        for names in _axes(fields):
            inner = chosen_of(fields[names[0]])
            found = [way for name in names for way in self._axis(name, inner)]
            if not found and (names[1:] or fields[names[0]].is_required()):
                need = f"a grid with method '{owner}' must give {' or '.join(names)}"
                raise ProfileError(f"{need}; or give --{names[0].replace('_', '-')}")
            axes.append(found if inner else found or [{}])
        yield from (
            {k: v for one in ways for k, v in one.items()} for ways in itertools.product(*axes)
        )

    def _axis(self, name: str, inner: Of | None) -> Iterator[dict[str, Any]]:
        for value in self.given(name):
            for more in self._ways(inner, value) if inner else ({},):
                yield {name: value} | more


def _axes(fields: Mapping[str, FieldInfo]) -> list[list[str]]:
    """Return the names of settings, those together that stand in each other's place."""
    axes: dict[str, list[str]] = {}
    for name in fields:
        axes.setdefault(known()[name].said.instead_of or name, []).append(name)
    return list(axes.values())


def _joined(ways: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the settings of all methods of a stack; None where two say another thing of one."""
    said: dict[str, Any] = {}
    for way in ways:
        if any(said.get(name, value) != value for name, value in way.items()):
            return None
        said |= way
    return said


def grid_class() -> type[Grid]:
    """Return the class of a grid with a key for every setting there is."""
    return _grid_class(tuple(known()))


@lru_cache(maxsize=8)
def _grid_class(names: tuple[str, ...]) -> type[Grid]:
    keys: dict[str, Any] = {name: _key(known()[name]) for name in names}
    return create_model("Grid", __base__=Grid, **keys)


def _key(setting: Known) -> tuple[Any, Any]:
    """Return the type and the default of a setting's key."""
    field = setting.field
    if chosen_of(field):
        usual = field.get_default(call_default_factory=True, validated_data={})
        return tuple[Name, ...], (usual.name,)
    kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    if not setting.said.varies:
        return kind, field.default
    one: Any = Annotated[Union[tuple(_without_none(field.annotation))], *field.metadata]  # noqa: UP007
    return tuple[one, ...], ()


def _without_none(kind: Any) -> list[Any]:
    if get_origin(kind) not in (Union, UnionType):
        return [kind]
    return [each for each in get_args(kind) if each is not NoneType]


def _read(told: Any) -> Grid:
    return told if isinstance(told, Grid) else grid_class().model_validate(told)


AnyGrid = Annotated[SerializeAsAny[Grid], PlainValidator(_read)]
"""A grid as a profile has it."""


def case_from(data: Mapping[str, Any]) -> Case:
    """Return the case of these settings.

    Raises:
        UsageError: If a setting cannot be.
    """
    try:
        return Case.model_validate(data)
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden" and fault["loc"][0] in _TABLES:
            known = list(_TABLES[fault["loc"][0]].model_fields)
            hint = f"{did_you_mean(str(fault['loc'][-1]), known)}; keys are: {', '.join(known)}"
            raise UsageError(f"unknown key '{name}'{hint}") from None
        raise UsageError(f"{name}{complaint(fault)}".removeprefix(": ")) from None


_TABLES: dict[Any, type[Strict]] = {
    "timing": TimingSettings,
    "training": TrainingSettings,
    "timeline": TimelineSettings,
}
