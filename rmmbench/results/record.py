"""What came of one case, and where it ran. One line of JSON each.

Numbers are in SI units, named in the field. A number that is not there is null and `missing` says
why.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from rmmbench.results.case_columns import case_row, told_dtype
from rmmbench.results.counts import COUNTS, Counts
from rmmbench.results.gradient_error import GradientError
from rmmbench.results.migration import SCHEMA_VERSION, migrated
from rmmbench.results.timeline import Part, Timeline, peak_columns
from rmmbench.results.timing import TIMING_COLUMNS, Timing
from rmmbench.results.trained import Training
from rmmbench.results.training_columns import noise_columns, training_columns
from rmmbench.spec.case import Case, Device
from rmmbench.spec.ranges import Finite, Flag, Line, NotNegative, Whole
from rmmbench.spec.strict import Strict
from rmmbench.units import format_bytes

SYNTHETIC = "inputs and labels are random"

Outcome = Literal["ok", "out_of_memory", "diverged", "error", "timeout", "skipped"]


class Environment(Strict):
    """The machine, the versions and the settings that a case ran on.

    Attributes:
        cpu_count: CPUs that the process might use.
        memory_bytes: RAM that it might use.
        torch_build: The commit that torch was built from.
        commit: What was checked out of the user's code: around the module of an `import:` model,
            else around the working directory. None where there is no commit.
        dirty: Whether files of it differed.
        torch_flags: Settings of torch, by their names there.
        variables: Those of the environment that change memory or times, as far as they are set.
        node: Which machine of a cluster it was; None where the command itself ran, and in older
            records.
    """

    rmmbench: Line
    python: Line
    torch: Line
    transformers: Line | None
    system: Line
    processor: Line
    cpu_count: Whole
    memory_bytes: Whole | None
    torch_threads: Whole
    gpu: Line | None
    gpu_memory_bytes: Whole | None
    cuda: Line | None
    driver: Line | None
    torch_build: Line | None = None
    triton: Line | None = None
    cudnn: Line | None = None
    commit: Line | None = None
    dirty: Flag | None = None
    torch_flags: dict[Line, Line] | None = None
    variables: dict[Line, Line] | None = None
    node: Line | None = None

    def changes(self, now: "Environment") -> list[tuple[str, object, object]]:
        """Return what is another now so that numbers may be: its name, what it was, what it is.

        What an older environment does not tell is no change.
        """
        told = self.model_fields_set & now.model_fields_set
        pairs = {name: (getattr(self, name), getattr(now, name)) for name in _ONE_RUN & told}
        if "variables" in told:
            before, after = self.variables or {}, now.variables or {}
            pairs |= {
                name: (before.get(name, "unset"), after.get(name, "unset"))
                for name in before.keys() | after.keys()
            }
        return [(name, old, new) for name, (old, new) in sorted(pairs.items()) if old != new]


_ONE_RUN: Final = {
    *("rmmbench", "python", "torch", "torch_build", "transformers", "triton", "cuda", "cudnn"),
    *("processor", "cpu_count", "torch_threads", "gpu", "gpu_memory_bytes", "driver"),
}
"""What all records of a run have in common."""


class Memory(Strict):
    """Bytes of one training step.

    Attributes:
        device: What the figures are from: the caching allocator (cuda), the allocator's events
            (cpu), or fake tensors (predict).
        peak_live_bytes: Highest sum of live tensors during a warmed-up step, each at its own size;
            None in older records.
        peak_allocated_bytes: The same with all that the allocator adds to them: rounding, what is
            left of a block that is not split, the libraries' workspaces.
        cold_peak_allocated_bytes: The same for the first step.
        resting_bytes: Live between steps: parameters, buffers, optimizer state, the batch.
        saved_bytes: What autograd holds between forward and backward, each storage once, parameters
            and buffers left out.
        reserved_bytes: What the caching allocator took from the driver for it: a step needs so
            much. The driver's own part, the process's CUDA context, comes on top.
        attention_kernels: How often a step called which kernel of scaled dot product attention.
        alloc_retries: How often it had to give memory back and ask again.
        process_bytes: What NVML says that the process holds.
        rank_peak_bytes: The peak of each of several ranks; all else is of the one that needs most.
        at_peak_bytes: What was live at the peak of a predicted step over several, by category.
    """

    device: Device
    peak_allocated_bytes: Whole
    cold_peak_allocated_bytes: Whole
    resting_bytes: Whole
    saved_bytes: Whole
    peak_live_bytes: Whole | None = None
    reserved_bytes: Whole | None = None
    attention_kernels: dict[Line, Whole] | None = None
    alloc_retries: Whole | None = None
    process_bytes: Whole | None = None
    rank_peak_bytes: tuple[Whole, ...] | None = None
    at_peak_bytes: dict[Part, Whole] | None = None

    @classmethod
    def of_ranks(cls, ranks: Sequence["Memory"]) -> "Memory":
        """Return the memory of the rank that needs most, the first of those, with every peak."""
        peaks = tuple(rank.peak_allocated_bytes for rank in ranks)
        most = max(ranks, key=lambda rank: rank.needed_bytes)
        return most.model_copy(update={"rank_peak_bytes": peaks})

    @property
    def needed_bytes(self) -> int:
        """What a limit is held against: what is reserved; where nothing is, what is allocated."""
        return self.peak_allocated_bytes if self.reserved_bytes is None else self.reserved_bytes

    @property
    def needed(self) -> str:
        """`needed_bytes` in words: "11.35 GiB reserved", "11.20 GiB"."""
        words = format_bytes(self.needed_bytes)
        return words if self.reserved_bytes is None else f"{words} reserved"


class Conditions(Strict):
    """The machine while steps were timed.

    Attributes:
        sm_clock_hertz, memory_clock_hertz, temperature_celsius, power_watts: Medians of what NVML
            saw of the GPU.
        energy_joules_per_sample: Of the method's steps alone, after the timed ones.
        throttle_reasons: Every one that was seen.
        foreign_processes: How many others computed on the GPU.
        other_cpus: How many CPUs others kept busy, of those that the process might use.
        quota_held_seconds: How long a quota held threads back, each for itself.
        cpu_governor: By what rule the system chooses the CPUs' clocks.
    """

    sm_clock_hertz: NotNegative | None = None
    memory_clock_hertz: NotNegative | None = None
    temperature_celsius: Finite | None = None
    power_watts: NotNegative | None = None
    energy_joules_per_sample: NotNegative | None = None
    throttle_reasons: tuple[Line, ...] | None = None
    foreign_processes: Whole | None = None
    other_cpus: NotNegative | None = None
    quota_held_seconds: NotNegative | None = None
    cpu_governor: Line | None = None


class Record(Strict):
    """One case and what came of it.

    Attributes:
        key: The case's name.
        stage: What was being done when a case that is not ok ended.
        reason: Why a case is not ok.
        counts: The work of a step; None in older records.
        missing: For each number that is null, by its dotted path, the reason.
        synthetic: What of the workload is made up.
        converted: How many layers the method changed.
        left_out: Where it changes linear layers, how many weights it left, by the reason; None
            elsewhere and in older records.
        parameter_dtypes: How many numbers the model's parameters have of each dtype, as it was
            built; None in older records.
        exact_gradient: Whether the method leaves gradients those of exact, but for rounding; None
            in older records.
        sketch_path: What sketches were computed with: Triton's kernels, PyTorch's own operators
            ("torch"), or both; None where none was computed.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    key: Line
    case: Case
    outcome: Outcome
    stage: Line | None = None
    reason: Line | None = None
    environment: Environment
    memory: Memory | None = None
    timing: Timing | None = None
    conditions: Conditions | None = None
    gradient: GradientError | None = None
    training: Training | None = None
    timeline: Timeline | None = None
    counts: Counts | None = None
    converted: Whole | None = None
    left_out: dict[Line, Whole] | None = None
    parameter_dtypes: dict[Line, Whole] | None = None
    exact_gradient: Flag | None = None
    sketch_path: Literal["triton", "torch", "both"] | None = None
    missing: dict[Line, Line] = Field(default_factory=dict)
    warnings: tuple[Line, ...] = ()
    synthetic: Line = SYNTHETIC
    started_at: Line = Field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds")
    )
    wall_seconds: NotNegative = 0.0

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, told: Any) -> Any:
        """Read on what an older version wrote."""
        return migrated(told) if isinstance(told, Mapping) else told

    @property
    def has_failed(self) -> bool:
        """Whether the case has no result; measured again, it may have one.

        Out of memory is a result that was asked for, and so is training that diverged; what is
        skipped has nothing to tell on the device.
        """
        return self.outcome in ("error", "timeout")

    def why_missing(self, name: str) -> str | None:
        """Return why a number is null, by its dotted path; None if nothing says so."""
        section = name.partition(".")[0]
        return self.missing.get(name) or self.missing.get(section) or _UNTOLD.get(name)

    def __repr__(self) -> str:
        said = [self.outcome.replace("_", " "), *filter(None, [self.reason])]
        if self.memory:
            said.append(f"peak {format_bytes(self.memory.peak_allocated_bytes)}")
        if self.timing:
            said.append(f"{self.timing.samples_per_second:.4g} samples/s")
        if self.timing and self.timing.relative_throughput:
            said.append(f"relative throughput {self.timing.relative_throughput:.3f}")
        return f"Record({self.case.title}: {', '.join(said)})"

    def row(self) -> dict[str, object]:
        """Return the flat row that tables, figures and exports read, one value a column."""
        case, memory, timing = self.case, self.memory, self.timing
        row = case_row(case)
        row |= {"dtype": told_dtype(case.dtype, self.parameter_dtypes), "device": case.device}
        # What cannot be predicted may have been measured.
        row["memory_device"] = memory.device if memory else case.memory_device
        row |= {"key": self.key, "cell": case.cell, "outcome": self.outcome, "reason": self.reason}
        for name in Memory.model_fields:
            if name != "device":
                row[name] = getattr(memory, name, None)
        row |= peak_columns(row.pop("at_peak_bytes"))
        ranks = memory.rank_peak_bytes if memory else None
        row["rank_peak_bytes"] = " ".join(map(str, ranks or ())) or None
        row["attention_kernels"] = _called(memory.attention_kernels if memory else None)
        for name in COUNTS:
            row[name] = getattr(self.counts, name, None)
        for name in TIMING_COLUMNS:
            row[name] = getattr(timing, name, None)
        for end in ("", "_low", "_high"):
            row[f"product_ratio{end}"] = None
            if case.projection_device is not None:
                row[f"product_ratio{end}"] = row[f"relative_throughput{end}"]
                row[f"relative_throughput{end}"] = None
        for name in Conditions.model_fields:
            row[name] = getattr(self.conditions, name, None)
        row["exact_gradient"] = self.exact_gradient
        row["gradient_error"] = self.gradient.error if self.gradient else None
        row["gradient_error_spread"] = self.gradient.spread if self.gradient else None
        row |= noise_columns(self.gradient, self.training, row["samples_per_second"])
        row |= training_columns(self.training)
        for name in ("gpu", "processor", "torch", "node"):
            row[name] = getattr(self.environment, name)
        row["gpu"] = case.gpu or row["gpu"]
        return row


_BEFORE: Final = "the record is from before this was counted"
_UNTOLD: Final = {
    **dict.fromkeys(("memory.peak_live_bytes", "counts"), _BEFORE),
    "memory.rank_peak_bytes": "the step is on one rank",
    "memory.at_peak_bytes": "it is followed where a step over several ranks is predicted",
}
"""Why a record lacks what it does not explain itself."""


def _called(kernels: Mapping[str, int] | None) -> str | None:
    """Return in words how often each kernel was called; None if none was."""
    ordered = sorted((kernels or {}).items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered) or None
