"""One case: everything needed to measure one cell of a grid, or to train one model, again."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import model_validator

from rmmbench.spec.choices import Attention, Dropping, Dtype, Kernel, Optimizer, Parallel, Update
from rmmbench.spec.contradictions import contradiction
from rmmbench.spec.flat import EXACT, steps_from, unflattened
from rmmbench.spec.known_settings import absent, in_words, stack_name
from rmmbench.spec.measuring import TimelineSettings, TimingSettings, TrainingSettings
from rmmbench.spec.ranges import Count, Flag, Name, Positive, Seed
from rmmbench.spec.steps import Of, Step, values
from rmmbench.spec.strict import Strict

Device = Literal["cuda", "cpu", "predict"]

STEP: Final = (
    *("attention_kernel", "accumulate", "drop_gradients"),
    *("zeroed_gradients", "clip_norm", "update", "ranks", "parallel", "reshard"),
)
"""The fields that say what a step is and mostly keep their defaults."""


class Case(Strict):
    """Everything needed to measure one cell of the grid again.

    What a profile, a command line or an older record says flat, `method` and settings side by side,
    is read as steps.

    Attributes:
        model: Registered name with its argument, such as "roberta-base" or "linear:768x3072".
        task: What is trained on, or whose shape this is, if any.
        batch_size: Samples a step, of each rank.
        seq_len: Padded length in tokens; None for models without one.
        dtype: "float32"; "bfloat16" or "float16" for autocast with float32 parameters, "float16"
            with a scaled loss; "bfloat16-true" or "float16-true" for such parameters. Under
            "fsdp2", "bfloat16" is no autocast but a policy: shards and gradients stay float32,
            blocks are gathered and compute in bfloat16, and gradients are added up in float32.
        attention: How transformers computes attention; "eager" keeps the probabilities, as the
            paper's did.
        attention_kernel: Which kernel "sdpa" takes; None for the one that PyTorch chooses.
        accumulate: Micro-batches of batch_size samples, whose gradients add up to one update.
        drop_gradients: When the gradients of the step before go.
        zeroed_gradients: Whether they are filled with zeros and stay.
        clip_norm: The norm that all gradients together are clipped to; None leaves them.
        update: How parameters are updated; None as PyTorch does it on the device, all together on
            a GPU and one by one on a CPU.
        ranks: Processes that one step is spread over, each with a device of its own.
        parallel: How it is spread; None on one rank.
        reshard: Whether "fsdp2" gives the gathered parameters of a block back after its forward
            pass, and gathers them again for the backward pass.
        steps: The ways of saving memory, as they were written; none for the unchanged model.
        memory_device: Where memory is measured or predicted; None if it is not.
        gpu: Which GPU memory is predicted for; None where it is not predicted, and in older
            records, whose predictions are of the CPU's memory.
        time_device: Where steps are timed or trained; None if they are not.
        projection_device: Where a sketch alone is timed beside the product of its layer; None if
            it is not.
        seed: Of parameters, data order and sketches.
        training: How it is trained, on the task's data; None if it is not.
        timeline: What of memory over time is followed; None if nothing is.
        gradient_draws: How often weight gradients are compared with exact's; None if they are not.
        memory_limit_bytes: A step that takes more is out of memory: more reserved, or where nothing
            is reserved, more allocated. None for the device's own.
    """

    model: Name
    task: Name | None = None
    batch_size: Count
    seq_len: Count | None = None
    dtype: Dtype = "float32"
    optimizer: Optimizer = "adam"
    attention: Attention = "eager"
    attention_kernel: Kernel | None = None
    accumulate: Count = 1
    drop_gradients: Dropping = "after-step"
    zeroed_gradients: Flag = False
    clip_norm: Positive | None = None
    update: Update | None = None
    ranks: Count = 1
    parallel: Parallel | None = None
    reshard: Flag = True
    steps: tuple[Annotated[Step, Of("methods")], ...] = ()
    memory_device: Device | None = None
    gpu: Name | None = None
    time_device: Literal["cuda", "cpu"] | None = None
    projection_device: Literal["cuda", "cpu"] | None = None
    seed: Seed = 0
    timing: TimingSettings = TimingSettings()
    training: TrainingSettings | None = None
    timeline: TimelineSettings | None = None
    gradient_draws: Count | None = None
    memory_limit_bytes: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_flat(cls, told: Any) -> Any:
        """Read as steps what is told flat."""
        if not isinstance(told, Mapping) or "steps" in told:
            return told
        return unflattened(told, [name for name in cls.model_fields if name != "steps"])

    @model_validator(mode="after")
    def _possible(self) -> "Case":
        fault = contradiction(self)
        if fault is not None:
            raise ValueError(fault)
        return self

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that name this case: of all that is not left as it is."""
        return digest(self.model_dump(mode="json", exclude_defaults=True))

    @property
    def cell(self) -> str:
        """What this case shares with the exact one beside it: all but its steps."""
        return _cell(tuple(getattr(self, name) for name in _CELL))

    @property
    def device(self) -> str:
        """Where memory and time come from: "cuda", "cpu", "predict", or "predict+cpu"."""
        devices = (self.memory_device, self.time_device, self.projection_device)
        return "+".join(dict.fromkeys(device for device in devices if device))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the stack, as they were written."""
        return tuple(step.name for step in self.steps)

    @property
    def method(self) -> str:
        """The methods joined by "+"; "exact" for the unchanged model."""
        return "+".join(self.methods) or EXACT

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting there is by name; where no step has it, what a row has in its place."""
        return absent() | values(self.steps)

    def flat(self) -> dict[str, Any]:
        """Return the case for machines, with its method and every setting for its steps."""
        fields = self.model_dump(mode="json", exclude={"steps"})
        settings = {
            name: str(value) if isinstance(value, Strict) else value
            for name, value in self.settings.items()
        }
        return fields | {"method": self.method, **settings}

    @property
    def label(self) -> str:
        """The method and its settings as people write them: "gaussian, unshared ρ=0.5"."""
        said = {"method": self.method, **self.settings}
        size = f" ρ={said['rho']:g}" if said["rho"] is not None else ""
        size = f" proj_dim={said['proj_dim']}" if said["proj_dim"] is not None else size
        return ", ".join([stack_name(said), *in_words(said)]) + size

    @property
    def samples(self) -> int:
        """How many samples a step reads, over all its micro-batches and ranks."""
        batches = 1 if self.parallel == "tensor" else self.ranks
        return self.batch_size * self.accumulate * batches

    @property
    def on_each(self) -> str:
        """Whose the memory is, as words that follow a size: " on each of 8 GPUs", or nothing."""
        what = "ranks" if self.memory_device == "cpu" else "GPUs"
        return f" on each of {self.ranks} {what}" if self.ranks > 1 else ""

    @property
    def shape(self) -> str:
        """The batch as people write it: "128×98"."""
        return f"{self.batch_size}×{self.seq_len}" if self.seq_len else str(self.batch_size)

    @property
    def title(self) -> str:
        """The case in one line: "mlp:64-128-10 digits 32 gaussian ρ=0.5 seed 3"."""
        place = " ".join(filter(None, [self.model, self.task if self.training else None]))
        unusual = [f"{name}={getattr(self, name)}" for name in STEP if self._differs(name)]
        seed = f" seed {self.seed}" if self.training else ""
        return " ".join([place, self.shape, *unusual, self.label]) + seed

    def _differs(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def as_exact(self) -> "Case":
        """Return the case of the unchanged model in the same cell."""
        return Case.model_validate({name: getattr(self, name) for name in _CELL})

    def alone(self) -> "Case":
        """Return the case of one rank alone, which has all parameters and the same batch."""
        return self.model_copy(update={"ranks": 1, "parallel": None, "reshard": True})

    def with_settings(self, **changes: Any) -> "Case":
        """Return this case with some settings of its steps changed; None is as they are usually.

        Raises:
            ValueError: If no step has such a setting, or it is out of its range.
        """
        steps = steps_from(self.method, values(self.steps) | changes)
        return self.model_copy(update={"steps": steps})


_CELL: Final = tuple(name for name in Case.model_fields if name != "steps")


@lru_cache(maxsize=4096)
def _cell(values: tuple[Any, ...]) -> str:
    """Return the name of the exact case that has these values of `_CELL`; many cases share one."""
    return Case.model_validate(dict(zip(_CELL, values, strict=True))).key


def digest(data: object) -> str:
    """Return twelve hexadecimal digits that name some JSON."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return text_digest(text)


def text_digest(text: str) -> str:
    """Return twelve hexadecimal digits that name a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
