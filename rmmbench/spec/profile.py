"""A profile is one question as data: a TOML file with grids, from which come cases to measure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from rmmbench.errors import ArgumentError, ProfileError, UnknownNameError, UsageError
from rmmbench.spec.case import Case
from rmmbench.spec.flat import misplaced
from rmmbench.spec.gpus import DEFAULT_GPU, find_gpu
from rmmbench.spec.grid import AnyGrid, Grid, case_from, grid_class
from rmmbench.spec.known_settings import known
from rmmbench.spec.measuring import TimelineSettings, TimingSettings, TrainingSettings
from rmmbench.spec.overriding import (
    SIZES,
    of_sizes,
    of_tasks,
    replaced_sketches,
    without_replaced_methods,
)
from rmmbench.spec.published import Published
from rmmbench.spec.ranges import Count, Duration, Line, Name
from rmmbench.spec.steps import Step
from rmmbench.spec.strict import Strict, complaint
from rmmbench.spec.toml_file import fault_in, read_toml
from rmmbench.units import parse_bytes

PROFILE_VERSION = 1

_FIELDS: Final = Case.model_fields.keys() - {"steps"}
"""What a combination says of a case beside its method and settings."""

_HERE = Path(__file__).parents[1]
_FOLDERS = (_HERE / "profiles", _HERE.parent / "profiles")


class DeviceLimit(Strict):
    """The memory of another device, drawn as a line in figures of predicted memory."""

    name: Name
    memory: Name

    @field_validator("memory")
    @classmethod
    def _is_size(cls, text: str) -> str:
        parse_bytes(text)
        return text

    @property
    def memory_bytes(self) -> int:
        """The limit in bytes."""
        return parse_bytes(self.memory)


class Profile(Strict):
    """The content of a profile file.

    Attributes:
        title: The question, in one line.
        figures: What `plot` and `sweep` show for it.
        device: The device if the command line names none.
        gpu: Which GPU memory is predicted for, where a grid names none.
        time_limit_seconds: A case that takes longer is stopped and recorded as "timeout".
        gradient_draws: How often weight gradients are compared with exact's, if a grid asks for it.
    """

    version: Literal[1]
    title: Line
    figures: tuple[Name, ...] = ()
    device: Literal["auto", "cuda", "cpu", "predict"] = "auto"
    gpu: Name = DEFAULT_GPU
    time_limit_seconds: Duration = 900.0
    gradient_draws: Count = 5
    device_limit: DeviceLimit | None = None
    timing: TimingSettings = TimingSettings()
    training: TrainingSettings = TrainingSettings()
    timeline: TimelineSettings = TimelineSettings()
    grid: tuple[AnyGrid, ...] = Field(min_length=1)
    published: tuple[Published, ...] = ()

    @field_validator("gpu")
    @classmethod
    def _known_gpu(cls, name: str) -> str:
        return find_gpu(name).name

    @model_validator(mode="after")
    def _trainable(self) -> "Profile":
        for grid in self.grid:
            try:
                self._training(grid)
            except ValidationError as error:
                fault = error.errors()[0]
                keys = ", ".join(TrainingSettings.model_fields)
                why = complaint(fault)
                if fault["type"] == "extra_forbidden":
                    why = f" is unknown; keys are: {keys}"
                raise ValueError(f"training.{fault['loc'][0]}{why}") from None
        return self

    def overridden(
        self, axes: Mapping[str, tuple[Any, ...]], training: Mapping[str, Any] | None = None
    ) -> "Profile":
        """Return this profile with the given axes in place of those of every grid.

        A sketch that the profile measures in blocks keeps its blocks. With methods that others
        replace go their settings that vary, except how many rows or features are kept. A grid with
        bits is left out if it has none of the ρ that are given, and others measure its methods.

        Args:
            axes: Values by axis; none for the grids' own.
            training: Settings of training that replace every grid's own; None leaves them.

        Raises:
            UsageError: If a value is invalid, or no grid has such a setting.
        """
        axes = {name: values for name, values in axes.items() if values not in (None, ())}
        if "rho" in axes:
            axes["proj_dim"] = ()
        data = self.model_dump()
        given = {name: value for name, value in (training or {}).items() if value is not None}
        tasks = axes.pop("task", ())
        grids = [without_replaced_methods(grid, axes) for grid in data["grid"]]
        grids = of_tasks(grids, tasks)
        if "sketch" in axes:
            changes = replaced_sketches(grids, axes["sketch"])
            grids = [grid | change for grid, change in zip(grids, changes, strict=True)]
        others = {name: axes[name] for name in axes.keys() - {"sketch", *SIZES}}
        data["grid"] = of_sizes([grid | others for grid in grids], axes)
        for grid in data["grid"]:
            grid["training"] |= given
        try:
            changed = Profile.model_validate(data)
        except ValidationError as error:
            fault = error.errors()[0]
            if not fault["loc"]:
                raise UsageError(complaint(fault).removeprefix(": ")) from None
            name = next(part for part in reversed(fault["loc"]) if isinstance(part, str))
            raise ArgumentError(name, complaint(fault)) from None
        unused = (axes.keys() & known()) - set[str]().union(*(g.used() for g in changed.grid))
        if unused:
            name = min(unused)
            raise ArgumentError(name, _misplaced(name, changed.grid).removeprefix(name))
        return changed

    def cases(self, memory_device: str | None, time_device: str | None) -> list[Case]:
        """Return every case once, the exact one of a cell before the others.

        Args:
            memory_device: "cuda", "cpu", "predict", or None to leave memory out.
            time_device: "cuda", "cpu", or None to leave time out.

        Raises:
            UsageError: If a combination is not a valid case.
            ProfileError: If a grid does not say how large a sketch is.
        """
        cases: dict[str, Case] = {}
        made: dict[str, tuple[Step, ...]] = {}
        for grid in self.grid:
            measures = self._measures(grid, memory_device, time_device)
            if measures:
                for data in grid.combinations():
                    is_predicted = measures.get("memory_device") == "predict"
                    data["gpu"] = (data["gpu"] or self.gpu) if is_predicted else None
                    own = measures if data["ranks"] == 1 else _of_many(measures)
                    # Many cases share their steps, which take longest to make.
                    about = repr([item for item in data.items() if item[0] not in _FIELDS])
                    if about in made:
                        data = {name: data[name] for name in _FIELDS & data.keys()}
                        data["steps"] = made[about]
                    case = case_from(data | own | {"timing": self.timing})
                    made[about] = case.steps
                    cases.setdefault(case.key, case)
        return list(cases.values())

    def _measures(self, grid: Grid, memory_device: Any, time_device: Any) -> dict[str, Any]:
        """Return what to measure of a grid's cases, and where; empty for nothing."""
        asked = set(grid.measure)
        measures: dict[str, Any] = {}
        if memory_device and asked & {"memory", "timeline"}:
            measures["memory_device"] = memory_device
        if memory_device and "timeline" in asked:
            measures["timeline"] = self.timeline
        if time_device and asked & {"time", "training", "gradient"}:
            measures["time_device"] = time_device
        if time_device and "projection" in asked:
            measures["projection_device"] = time_device
        if time_device and "gradient" in asked:
            measures["gradient_draws"] = self.gradient_draws
        if time_device and "training" in asked:
            measures["training"] = self._training(grid)
        return measures

    def _training(self, grid: Grid) -> TrainingSettings:
        return TrainingSettings.model_validate(self.training.model_dump() | grid.training)


def _of_many(measures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is measured of a step over several ranks: neither gradients nor a timeline."""
    one = ("gradient_draws", "timeline")
    return {name: value for name, value in measures.items() if name not in one}


def names() -> list[str]:
    """Return the names of the profiles that come with rmmbench."""
    return sorted({path.stem for folder in _FOLDERS for path in folder.glob("*.toml")})


def load(name_or_path: str) -> Profile:
    """Read a profile by its name, or from a path that ends in .toml.

    Raises:
        UnknownNameError: If there is no profile of that name.
        ProfileError: If the file cannot be read, or is not a valid profile.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        if name_or_path not in names():
            raise UnknownNameError("profile", name_or_path, names())
        found = [folder / f"{name_or_path}.toml" for folder in _FOLDERS]
        path = next(path for path in found if path.is_file())
    return validated(read_toml(path, "profile", ProfileError), str(path))


def validated(data: Mapping[str, Any], source: str) -> Profile:
    """Return data as a profile; `source` names it in messages.

    Raises:
        ProfileError: If it is not a valid profile.
    """
    try:
        profile = Profile.model_validate(data)
    except ValidationError as error:
        raise ProfileError(fault_in(source, error, Profile, _tables())) from None
    for grid in profile.grid:
        unused = (grid.model_fields_set & known().keys()) - grid.used()
        if unused:
            raise ProfileError(f"{source}: {_misplaced(min(unused), [grid])}")
    return profile


def _misplaced(name: str, grids: Sequence[Grid]) -> str:
    methods = ", ".join(dict.fromkeys(method for grid in grids for method in grid.method))
    return misplaced(name, f"the methods are {methods}")


def _tables() -> dict[str, type[BaseModel]]:
    return {
        "grid": grid_class(),
        "published": Published,
        "timing": TimingSettings,
        "training": TrainingSettings,
        "timeline": TimelineSettings,
        "device_limit": DeviceLimit,
    }
