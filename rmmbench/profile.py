"""A profile: one question as data. A TOML file names a grid; here it becomes cases to measure."""

import hashlib
import itertools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rmmbench.errors import ProfileError, UnknownNameError, UsageError, did_you_mean
from rmmbench.record import Case, Count, Flag, Name, Rho, TimingSettings, Where
from rmmbench.tasks import TASKS
from rmmbench.units import parse_bytes

PROFILE_VERSION = 1

_HERE = Path(__file__).parent
_FOLDERS = (_HERE / "profiles", _HERE.parent / "profiles")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Grid(_Strict):
    """Axes whose every combination is a cell; in each, exact and every method are measured.

    `task` fills batch_size and seq_len where they are not given outright. Models of tokens need a
    seq_len; for the others it is one more leading dimension. block_rows holds for every sketch of
    the grid.
    """

    model: tuple[Name, ...] = Field(min_length=1)
    task: tuple[str, ...] = ()
    batch_size: tuple[Count, ...] = ()
    seq_len: tuple[Count, ...] = ()
    dtype: tuple[Literal["float32", "bfloat16"], ...] = ("float32",)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    attention: Literal["eager", "sdpa"] = "eager"
    method: tuple[str, ...] = ("rmm",)
    sketch: tuple[str, ...] = ("gaussian",)
    rho: tuple[Rho, ...] = ()
    proj_dim: tuple[Count, ...] = ()
    min_proj_dim: Count = 1
    max_proj_dim: Count | None = None
    block_rows: Count | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    where: Where = "all"
    share: Flag = True
    seed: int = 0
    measure: tuple[Literal["memory", "time"], ...] = Field(default=("memory", "time"), min_length=1)

    @field_validator("task")
    @classmethod
    def _known_tasks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in TASKS:
                raise ValueError(str(UnknownNameError("task", name, TASKS)))
        return names


class Published(_Strict):
    """A row that the paper prints, in its own units, to stand beside the measured one."""

    model: str
    task: str
    batch_size: int | None = None
    sketch: str | None = None
    rho: float | None = None
    peak_gib: float | None = None
    saved_percent: float | None = None
    score: float | None = None
    minutes: float | None = None
    source: str


class DeviceLimit(_Strict):
    """The memory of a device that is not here, drawn as a line where memory is predicted."""

    name: str
    memory: str

    @field_validator("memory")
    @classmethod
    def _is_size(cls, text: str) -> str:
        parse_bytes(text)
        return text

    @property
    def memory_bytes(self) -> int:
        """The limit in bytes."""
        return parse_bytes(self.memory)


class Profile(_Strict):
    """A profile file as it stands.

    Attributes:
        title: The question, in one line.
        figures: What `plot` and `sweep` show for it.
        device: Used where the command line names none.
        time_limit_seconds: A case that takes longer is stopped and recorded as "timeout".
    """

    version: Literal[1]
    title: str
    figures: tuple[str, ...] = ()
    device: Literal["auto", "cuda", "cpu", "predict"] = "auto"
    time_limit_seconds: float = Field(default=900.0, gt=0)
    device_limit: DeviceLimit | None = None
    timing: TimingSettings = TimingSettings()
    grid: tuple[Grid, ...] = Field(min_length=1)
    published: tuple[Published, ...] = ()

    def overridden(self, axes: Mapping[str, tuple[Any, ...]]) -> "Profile":
        """Return this profile with the given axes (flags of the command line) in every grid.

        A sketch that the profile measures in blocks stays with its blocks.

        Raises:
            UsageError: If a flag's value cannot be.
        """
        axes = {name: values for name, values in axes.items() if values}
        if "rho" in axes:
            axes["proj_dim"] = ()
        data = self.model_dump()
        data["grid"] = [grid | axes for grid in data["grid"]]
        if "sketch" in axes:
            changes = _replaced_sketches(self.grid, axes["sketch"])
            grids = zip(data["grid"], changes, strict=True)
            data["grid"] = [grid | change for grid, change in grids]
        try:
            return Profile.model_validate(data)
        except ValidationError as error:
            fault = error.errors()[0]
            flag = next(part for part in reversed(fault["loc"]) if isinstance(part, str))
            raise UsageError(f"--{flag.replace('_', '-')}{_what(fault)}") from None

    def cases(self, memory_device: str | None, time_device: str | None) -> list[Case]:
        """Return every case once, the exact one of a cell before the others.

        Args:
            memory_device: "cuda", "cpu", "predict", or None to leave memory out.
            time_device: "cuda", "cpu", or None to leave time out.

        Raises:
            UsageError: If a combination makes no case.
            ProfileError: If a grid does not say how large a sketch is.
        """
        cases: dict[str, Case] = {}
        for grid in self.grid:
            devices = {
                "memory_device": memory_device if "memory" in grid.measure else None,
                "time_device": time_device if "time" in grid.measure else None,
            }
            if any(devices.values()):
                for data in _combinations(grid):
                    case = case_from(data | devices | {"timing": self.timing})
                    cases.setdefault(case.key, case)
        return list(cases.values())


def names() -> list[str]:
    """Return the names of the profiles that come with rmmbench."""
    return sorted({path.stem for folder in _FOLDERS for path in folder.glob("*.toml")})


def load(name_or_path: str) -> Profile:
    """Read a profile by its name, or from a path that ends in .toml.

    Raises:
        UnknownNameError: If no profile has the name.
        ProfileError: If the file is not there, not TOML, or does not say what a profile must.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        found = [folder / f"{name_or_path}.toml" for folder in _FOLDERS]
        found = [path for path in found if path.is_file()]
        if not found:
            raise UnknownNameError("profile", name_or_path, names())
        path = found[0]
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: a profile must be TOML: {error}") from error
    return _validated(data, str(path))


def cases_hash(cases: Iterable[Case]) -> str:
    """Return twelve hexadecimal digits that name a set of cases, in whatever order."""
    keys = "\n".join(sorted(case.key for case in cases))
    return hashlib.sha256(keys.encode()).hexdigest()[:12]


def _validated(data: Mapping[str, Any], source: str) -> Profile:
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        # A key that is misspelt is missing too: its name says more.
        fault = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        keys = [str(part) for part in fault["loc"] if isinstance(part, str)]
        where = f" in [{'.'.join(keys[:-1])}]" if keys[1:] else ""
        if fault["type"] == "extra_forbidden":
            known = _fields(keys[:-1])
            hint = f"{did_you_mean(keys[-1], known)}; keys are: {', '.join(known)}"
            raise ProfileError(f"{source}: unknown key '{keys[-1]}'{where}{hint}") from None
        if fault["type"] == "missing":
            raise ProfileError(f"{source}: key '{keys[-1]}'{where} must be given") from None
        raise ProfileError(f"{source}: {keys[-1]}{where}{_what(fault)}") from None


def _what(fault: Mapping[str, Any]) -> str:
    """Return " must be so and so, got that" of pydantic's words for a fault."""
    if fault["type"] == "value_error":
        message = str(fault["msg"]).removeprefix("Value error, ")
        return f" {message}" if message.startswith("must") else f": {message}"
    words = {
        "tuple_type": "must be an array",
        "too_short": "must have at least one value",
        "string_too_short": "must not be empty",
    }
    message = str(fault["msg"]).replace("Input should", "must")
    return f" {words.get(fault['type'], message)}, got {fault['input']!r}"


def _fields(parents: list[str]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {
        "grid": Grid,
        "published": Published,
        "timing": TimingSettings,
        "device_limit": DeviceLimit,
    }
    table = tables[parents[0]] if parents else Profile
    return list(table.model_fields)


def _replaced_sketches(grids: tuple[Grid, ...], given: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield what `given` sketches in the place of each grid's own change in it.

    A grid with block_rows takes those that it had, and none if it had others; what only such grids
    had is in no other.
    """
    in_blocks = {name for grid in grids if grid.block_rows for name in grid.sketch}
    in_blocks -= {name for grid in grids if not grid.block_rows for name in grid.sketch}
    for grid in grids:
        own = tuple(name for name in given if name in grid.sketch)
        others = tuple(name for name in given if name not in in_blocks)
        in_place = grid.block_rows and own
        yield {"sketch": own} if in_place else {"sketch": others, "block_rows": None}


def _combinations(grid: Grid) -> Iterator[dict[str, Any]]:
    shared = {name: getattr(grid, name) for name in ("optimizer", "attention", "seed")}
    for model, task, dtype in itertools.product(grid.model, grid.task or (None,), grid.dtype):
        workload = TASKS[task] if task else None
        batch_sizes = grid.batch_size or ((workload.batch_size,) if workload else ())
        if not batch_sizes:
            raise UsageError("a grid must give batch_size, or a task that has one")
        seq_lens = grid.seq_len or (workload.seq_len if workload else None,)
        for batch_size, seq_len in itertools.product(batch_sizes, seq_lens):
            cell = shared | {"model": model, "task": task, "dtype": dtype}
            cell |= {"batch_size": batch_size, "seq_len": seq_len}
            yield cell
            yield from (cell | settings for settings in _settings(grid))


def _settings(grid: Grid) -> Iterator[dict[str, Any]]:
    """Yield each method's settings; exact, which every cell has already, is left out."""
    names = ("min_proj_dim", "max_proj_dim", "block_rows", "include", "exclude", "where", "share")
    limits = {name: getattr(grid, name) for name in names}
    sizes = [{"rho": rho} for rho in grid.rho] + [{"proj_dim": size} for size in grid.proj_dim]
    if "rmm" in grid.method and not sizes:
        raise ProfileError("a grid with method 'rmm' must give rho or proj_dim; or give --rho")
    for method in grid.method:
        if method == "rmm":
            for sketch, size in itertools.product(grid.sketch, sizes):
                yield {"method": method, "sketch": sketch} | size | limits
        elif method != "exact":
            yield {"method": method}


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
        raise UsageError(f"{name}{_what(fault)}".removeprefix(": ")) from None
