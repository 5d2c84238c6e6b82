"""One measured case: what was asked, where it ran, what came of it. One line of JSON each.

Numbers are in SI units, named in the field. A number that is not there is null and `missing` says
why.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

SCHEMA_VERSION: Final = 1
SYNTHETIC = "inputs and labels are random"

Device = Literal["cuda", "cpu", "predict"]
Outcome = Literal["ok", "out_of_memory", "error", "timeout", "skipped"]
Where = Literal["all", "beneficial"]
Name = Annotated[str, StringConstraints(min_length=1)]


def _in_unit_interval(rho: float) -> float:
    if not 0 < rho <= 1:
        raise ValueError(f"must be in (0, 1], got {rho:g}")
    return rho


def _positive(count: int) -> int:
    if count < 1:
        raise ValueError(f"must be at least 1, got {count}")
    return count


Rho = Annotated[float, Field(strict=True), AfterValidator(_in_unit_interval)]
Count = Annotated[int, Field(strict=True), AfterValidator(_positive)]
Flag = Annotated[bool, Field(strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TimingSettings(_Strict):
    """How long to time: until it is steady, but no more than max_seconds or max_steps.

    Attributes:
        warmup_steps: Steps before the first that counts.
        min_steps: Fewest timed steps.
        max_steps: Most timed steps.
        max_seconds: Timing stops here once `min_steps` are done.
        target_spread: Steady is when the standard error of the median, as a fraction of it, is
            below this.
    """

    warmup_steps: int = Field(default=2, ge=1)
    min_steps: int = Field(default=7, ge=1)
    max_steps: int = Field(default=50, ge=1)
    max_seconds: float = Field(default=20.0, gt=0)
    target_spread: float = Field(default=0.01, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "TimingSettings":
        if self.max_steps < self.min_steps:
            raise ValueError(
                f"max_steps must be at least min_steps ({self.min_steps}), got {self.max_steps}"
            )
        return self


class Case(_Strict):
    """Everything needed to measure one cell of the grid again.

    Attributes:
        model: Registered name with its argument, such as "roberta-base" or "linear:768x3072".
        task: The GLUE task whose shape this is, if any.
        batch_size: Samples a step.
        seq_len: Padded length in tokens; None for models without one.
        dtype: "float32", or "bfloat16" for autocast with float32 parameters.
        attention: How transformers computes attention; "eager" keeps the probabilities, as the
            paper's did.
        method: The way of saving memory; "exact" is the unchanged model.
        sketch, rho, proj_dim, min_proj_dim, max_proj_dim, block_rows: Settings of the method rmm.
        include, exclude: Patterns of the layers to convert, by qualified name.
        where: Of these layers "all", or those that gain by a sketch.
        share: Whether layers that read one tensor keep one sketch of it between them.
        memory_device: Where memory is measured or predicted; None if it is not.
        time_device: Where steps are timed; None if they are not.
        seed: Of parameters, data and sketches.
    """

    model: Name
    task: str | None = None
    batch_size: Count
    seq_len: Count | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    attention: Literal["eager", "sdpa"] = "eager"
    method: Name = "exact"
    sketch: str | None = None
    rho: Rho | None = None
    proj_dim: Count | None = None
    min_proj_dim: Count = 1
    max_proj_dim: Count | None = None
    block_rows: Count | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    where: Where = "all"
    share: Flag = True
    memory_device: Device | None = None
    time_device: Literal["cuda", "cpu"] | None = None
    seed: int = 0
    timing: TimingSettings = TimingSettings()

    @model_validator(mode="after")
    def _ordered(self) -> "Case":
        if self.max_proj_dim is not None and self.max_proj_dim < self.min_proj_dim:
            limit = f"at least min_proj_dim ({self.min_proj_dim})"
            raise ValueError(f"max_proj_dim must be {limit}, got {self.max_proj_dim}")
        return self

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that name this case."""
        return _digest(self.model_dump(mode="json"))

    @property
    def cell(self) -> str:
        """What this case shares with the exact one beside it: all but the method's settings."""
        return _digest(self.as_exact().model_dump(mode="json"))

    @property
    def device(self) -> str:
        """Where memory and time come from: "cuda", "cpu", "predict", or "predict+cpu"."""
        return "+".join(dict.fromkeys(d for d in (self.memory_device, self.time_device) if d))

    @property
    def label(self) -> str:
        """The method and its settings as people write them: "gaussian, unshared ρ=0.5"."""
        size = f" ρ={self.rho:g}" if self.rho is not None else ""
        size = f" proj_dim={self.proj_dim}" if self.proj_dim is not None else size
        words = [in_words(name, getattr(self, name)) for name in CHOICES]
        return ", ".join(filter(None, [self.sketch or self.method, *words])) + size

    @property
    def shape(self) -> str:
        """The batch as people write it: "128×98"."""
        return f"{self.batch_size}×{self.seq_len}" if self.seq_len else str(self.batch_size)

    def as_exact(self) -> "Case":
        """Return the case of the unchanged model in the same cell."""
        keep = {"model", "task", "batch_size", "seq_len", "dtype", "optimizer", "attention"}
        keep |= {"memory_device", "time_device", "seed", "timing"}
        return Case.model_validate({name: getattr(self, name) for name in keep})


CHOICES: Final = {"block_rows": "blocks of {}", "where": "{} layers", "share": "unshared"}


def in_words(name: str, value: object) -> str:
    """Return one of `CHOICES` as people write it: "blocks of 128"; "" for what is the default."""
    return "" if value == Case.model_fields[name].default else CHOICES[name].format(value)


class Environment(_Strict):
    """The machine and the versions that a case ran on."""

    rmmbench: str
    python: str
    torch: str
    transformers: str | None
    system: str
    processor: str
    cpu_count: int
    memory_bytes: int | None
    torch_threads: int
    gpu: str | None
    gpu_memory_bytes: int | None
    cuda: str | None
    driver: str | None


class Memory(_Strict):
    """Bytes of one training step.

    Attributes:
        device: What the figures are from: the caching allocator (cuda), the allocator's events
            (cpu), or fake tensors (predict).
        peak_allocated_bytes: Highest sum of live tensors during a warmed-up step.
        cold_peak_allocated_bytes: The same for the first step.
        resting_bytes: Live between steps: parameters, buffers, optimizer state, the batch.
        saved_bytes: What autograd holds between forward and backward, each storage once, parameters
            and buffers left out.
        reserved_bytes: What the caching allocator took from the driver.
        alloc_retries: How often it had to give memory back and ask again.
        process_bytes: What NVML says that the process holds.
    """

    device: Device
    peak_allocated_bytes: int
    cold_peak_allocated_bytes: int
    resting_bytes: int
    saved_bytes: int
    reserved_bytes: int | None = None
    alloc_retries: int | None = None
    process_bytes: int | None = None


class Timing(_Strict):
    """Raw times of whole training steps, the method's and exact's taken in turn in one process.

    Attributes:
        step_seconds: The method's.
        reference_step_seconds: Exact's, pair by pair; empty where the case is exact.
        samples_per_second: batch_size ÷ the median of `step_seconds`.
        relative_throughput: Median of `reference_step_seconds` ÷ median of `step_seconds`; 1 for
            exact.
        spread: Standard error of the median step, as a fraction of it.
    """

    device: Literal["cuda", "cpu"]
    step_seconds: tuple[float, ...]
    reference_step_seconds: tuple[float, ...] = ()
    samples_per_second: float
    relative_throughput: float
    spread: float


class Conditions(_Strict):
    """What NVML saw of the GPU while steps were timed: medians, and every throttle reason."""

    sm_clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    energy_joules_per_sample: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    foreign_processes: int | None = None


class Record(_Strict):
    """One case and what came of it.

    Attributes:
        key: The case's name.
        stage: What was being done when a case that is not ok ended.
        reason: Why a case is not ok.
        missing: For each number that is null, by its dotted path, the reason.
        synthetic: What of the workload is made up.
        converted: How many layers the method changed.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    key: str
    case: Case
    outcome: Outcome
    stage: str | None = None
    reason: str | None = None
    environment: Environment
    memory: Memory | None = None
    timing: Timing | None = None
    conditions: Conditions | None = None
    converted: int | None = None
    missing: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    synthetic: str = SYNTHETIC
    started_at: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    wall_seconds: float = 0.0

    def row(self) -> dict[str, object]:
        """Return the flat row that tables, figures and exports read, one value a column."""
        case, memory, timing = self.case, self.memory, self.timing
        row: dict[str, object] = case.model_dump(exclude={"timing", "include", "exclude"})
        row |= {name: " ".join(getattr(case, name)) or None for name in ("include", "exclude")}
        row["device"] = case.device
        row |= {"key": self.key, "cell": case.cell, "outcome": self.outcome, "reason": self.reason}
        for name in Memory.model_fields:
            if name != "device":
                row[name] = getattr(memory, name, None)
        for name in ("samples_per_second", "relative_throughput", "spread"):
            row[name] = getattr(timing, name, None)
        for name in Conditions.model_fields:
            row[name] = getattr(self.conditions, name, None)
        for name in ("gpu", "processor", "torch"):
            row[name] = getattr(self.environment, name)
        return row


def _digest(data: object) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
