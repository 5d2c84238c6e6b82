"""Measures plans on this machine: how far their gradients are from exact's, and their speed."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from rmmbench.errors import UsageError
from rmmbench.results.record import Record
from rmmbench.running.one_case import measure_ways
from rmmbench.running.planning.plans import Plans, Sought

_TIMING: Final = {"warmup_steps": 1, "min_steps": 2, "max_steps": 6, "max_seconds": 5.0}


class Verified(NamedTuple):
    """What was measured of a plan.

    Attributes:
        names: Of the plan.
        does: What it does.
        predicted_noise: As it was planned.
        noise: E‖Ĝ − G‖²/‖G‖² over all weights, measured.
        relative_throughput: Measured in turns with the unchanged model.
    """

    names: tuple[str, ...]
    does: str
    predicted_noise: float
    noise: float
    relative_throughput: float | None


def verify_plans(
    plans: Plans, *, device: str = "cpu", draws: int = 5, quiet: bool = False
) -> list[Verified]:
    """Measure the plans, and the one that has one setting for all layers, side by side.

    Over ranks or micro-batches steps are timed as they are, and gradients compared on one rank that
    has the samples of all in one batch: the noise that they have together.

    Args:
        plans: Of a model that this machine can train.
        device: "cpu" or "cuda".
        draws: How often gradients are drawn.
        quiet: Show no progress.

    Raises:
        UsageError: If a plan cannot be measured.
    """
    lines: Sequence[Sought] = [*plans.found, *([plans.uniform] if plans.uniform else [])]
    case = plans.case
    names = ("dtype", "optimizer", "attention", "seed")
    same: dict[str, Any] = {name: getattr(case, name) for name in names}
    same |= {"timing": _TIMING, "method": "plan"}
    over = {name: getattr(case, name) for name in ("ranks", "parallel", "reshard", "accumulate")}
    is_spread = case.ranks > 1 or case.accumulate > 1
    noisy = {"gradient_draws": draws, "batch_size": case.samples}
    asked = [same | {"plan": line.plan, **noisy} for line in lines]
    asked += [same | {"plan": line.plan, **over} for line in lines if is_spread]
    records = measure_ways(
        case.model,
        asked,
        device=device,
        sizes=(case.task, case.batch_size, case.seq_len),
        time_limit_seconds=3600.0,
        quiet=quiet,
    )
    compared, timed = records[: len(lines)], records[-len(lines) :]
    return [_verified(*each) for each in zip(lines, compared, timed, strict=True)]


def _verified(line: Sought, compared: Record, timed: Record) -> Verified:
    if compared.gradient is None or timed.outcome != "ok":
        failed = compared if compared.gradient is None else timed
        why = failed.reason or failed.missing.get("gradient", failed.outcome)
        raise UsageError(f"the plan {', '.join(line.names)} cannot be measured here: {why}")
    errors = compared.gradient.errors
    noise = sum(error**2 for error in errors) / len(errors)
    speed = timed.timing.relative_throughput if timed.timing else None
    return Verified(line.names, line.plan.words, line.predicted.noise, noise, speed)
