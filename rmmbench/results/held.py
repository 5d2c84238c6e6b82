"""Measured figures beside the predicted ones, and Triton's kernels beside their PyTorch twins."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from rmmbench.results.record import Environment, Record
from rmmbench.spec.case import Case
from rmmbench.spec.ranges import Line, NotNegative, Whole
from rmmbench.spec.strict import Strict

NUMBERS: Final = {
    "peak_live_bytes": None,
    "peak_allocated_bytes": 0.01,
    "reserved_bytes": 0.05,
}
"""What is compared, and how far off a prediction of it may be; None if that decides nothing."""

Verdict = Literal["ok", "off", "failed", "left out"]


class Pair(NamedTuple):
    """One step, measured and predicted."""

    measured: Record
    predicted: Record

    @property
    def case(self) -> Case:
        """The case, as it was measured."""
        return self.measured.case

    def bytes_of(self, name: str) -> tuple[int | None, int | None]:
        """Return one of NUMBERS as it was measured and as it was predicted; None if unknown."""
        found = (getattr(each.memory, name, None) for each in self)
        return next(found), next(found)

    def error(self, name: str) -> float | None:
        """Return predicted ÷ measured − 1, how far off it is; None if one of them is unknown."""
        measured, predicted = self.bytes_of(name)
        return None if not measured or predicted is None else predicted / measured - 1

    @property
    def verdict(self) -> Verdict:
        """Whether the prediction holds; "failed" if one side ran alone.

        "left out" is what neither ran, as a GPU lacks a kernel, or what a device has nothing of.
        """
        outcomes = {record.outcome for record in self}
        if "ok" not in outcomes or "skipped" in outcomes:
            return "left out"
        if outcomes != {"ok"}:
            return "failed"
        errors = [(self.error(name), limit) for name, limit in NUMBERS.items() if limit]
        is_off = any(error is not None and abs(error) > limit for error, limit in errors)
        return "off" if is_off else "ok"

    @property
    def reason(self) -> str | None:
        """Why there is nothing to compare; None if there is."""
        for side, record in zip(("measured", "predicted"), self, strict=True):
            if record.outcome != "ok":
                return f"{side}: {record.outcome.replace('_', ' ')}: {record.reason}"
        return None


def paired(measured: Iterable[Record], predicted: Iterable[Record]) -> list[Pair]:
    """Return each measured record with the prediction of the same step; those without are left."""
    by_step = {_step(record.case): record for record in predicted}
    pairs = ((record, by_step.get(_step(record.case))) for record in measured)
    return [Pair(one, other) for one, other in pairs if other is not None]


def _step(case: Case) -> str:
    """Return what names a step, wherever its memory is from."""
    return case.model_copy(update={"memory_device": None, "gpu": None}).key


class KernelTwin(Strict):
    """A Triton kernel and the same computation in PyTorch's own operators, on the same numbers.

    Attributes:
        kernel: What is computed.
        dtype: Of its input; None for random bits, which have none.
        difference: The largest one between their results, relative to the largest of the twin's.
        limit: The largest that rounding explains.
        kernel_bytes: The most that the kernel takes, its results included; None off a GPU.
        twin_bytes: The same of the twin.
        reason: Why the kernel did not run; None if it did.
    """

    kernel: Line
    dtype: Line | None
    difference: NotNegative | None
    limit: NotNegative
    kernel_bytes: Whole | None = None
    twin_bytes: Whole | None = None
    reason: Line | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the kernel does what its twin does."""
        if self.difference is None:
            return "failed"
        return "ok" if self.difference <= self.limit else "off"


class Calibration(NamedTuple):
    """What became of comparing predictions with a device.

    Attributes:
        device: What measured: "cuda"; "cpu" where it stands for one.
        gpu: What `--gpu` takes for it; None for the CPU.
    """

    device: str
    gpu: str | None
    environment: Environment
    pairs: Sequence[Pair]
    twins: Sequence[KernelTwin]

    @property
    def title(self) -> str:
        """The device by its name."""
        here = self.environment
        return here.processor if self.device != "cuda" or here.gpu is None else here.gpu

    @property
    def verdict(self) -> str:
        """What to think of predictions for this device, and what to do, in one sentence."""
        off = [pair for pair in self.pairs if pair.verdict == "off"]
        held = sum(pair.verdict == "ok" for pair in self.pairs)
        bad = [twin.kernel for twin in self.twins if twin.verdict == "off"]
        compared = held + len(off)
        if not compared:
            return "No step could be compared: see why above, mend it, and run this once more."
        if bad:
            what = f"Kernels that differ from their twins: {', '.join(dict.fromkeys(bad))}"
            return f"{what}: do not train with sketches here, and report this with its folder."
        if off:
            what = f"{len(off)} of {compared} steps are predicted wrong, {self._worst(off)}"
            device = f"--device {self.device}"
            return f"{what}: measure such steps with {device}, and report this with its folder."
        what = f"All {compared} steps are predicted within 1 % of allocated"
        reserved = any(pair.error("reserved_bytes") is not None for pair in self.pairs)
        what += " and 5 % of reserved bytes" if reserved else " bytes"
        trust = f"--device predict --gpu {self.gpu}" if self.gpu else "--device predict"
        return f"{what}: trust {trust} for steps like these."

    @staticmethod
    def _worst(off: Sequence[Pair]) -> str:
        """Return by how much the worst is wrong, and which."""
        found = [
            (error, name, pair)
            for pair in off
            for name, limit in NUMBERS.items()
            if limit and (error := pair.error(name)) is not None and abs(error) > limit
        ]
        error, name, pair = max(found, key=lambda each: abs(each[0]))
        said = name.removesuffix("_bytes").removeprefix("peak_")
        return f"at worst {said} by {100 * error:+.1f} % ({pair.case.title})"
