"""Makes plans for a memory limit, for the command line and for Python."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rmmbench.errors import ArgumentError, UsageError
from rmmbench.models import MODELS
from rmmbench.results.noise_file import NoiseFile
from rmmbench.results.store import Run
from rmmbench.running.factories import Factory, importable
from rmmbench.running.isolation import process
from rmmbench.running.one_case import case_of
from rmmbench.running.planning.finding import Request, find_plans
from rmmbench.running.planning.goals import Asked
from rmmbench.running.planning.measured_ratios import MeasuredRatios
from rmmbench.running.planning.plans import Plans
from rmmbench.running.planning.told import showing
from rmmbench.running.sweep_plan import check_models, check_names
from rmmbench.sketches import SKETCHES
from rmmbench.units import parse_bytes, parse_fraction

_LIMIT_SECONDS: Final = 3600.0


def plan(
    model: str | Factory,
    *,
    memory: str | int | None = None,
    save: str | float | None = None,
    max_inflation: float | None = None,
    min_throughput: float | None = None,
    noise: str | Path | None = None,
    ratios: str | Path | None = None,
    sketch: str = "oporp",
    task: str | None = None,
    batch_size: int | None = None,
    seq_len: int | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Plans:
    """Find how a model is to save memory so that a training step fits a limit.

    The model's step is followed on fake tensors, and every plan is predicted as a whole; nothing is
    allocated. Up to three plans come of it: the fastest with exact gradients, that with the least
    noise, and the fastest for its noise.

    Args:
        model: As `predict` takes it.
        memory: What there is: "24GiB", or bytes. It is held against what the step reserves.
        save: Instead of `memory`, the share of the unchanged model's that is to be saved: "30%".
        max_inflation: The most noise of the gradient, as a multiple of SGD's own; needs `noise`.
        min_throughput: The least samples a second, as a share of the unchanged model's.
        noise: A noise file of this model, from `variance`; without one a rule of thumb is used.
        ratios: A run of single layers, as `rmmbench sweep linear` makes it, whose relative
            throughput is taken for layers of the same shape; without one work is counted.
        sketch: A name of `rmmbench list sketches`.
        task: A task whose shape to take.
        batch_size: Samples in a step; by default the task's, or 32.
        seq_len: Padded length in tokens; by default the task's, or 128 for models of tokens.
        quiet: Show no progress.
        settings: Of the case: dtype, optimizer, attention, gpu, accumulate …

    Raises:
        TypeError: If there is no argument of that name.
        UsageError: If a value is not possible, or no plan reaches the limit; the message has the
            least that one does.
        NoiseFileError: If the noise file is damaged, or of another model.
        RunError: If `ratios` is not a run.

    Examples:
        >>> import rmmbench
        >>> shape = {"batch_size": 64, "seq_len": 64}
        >>> plans = rmmbench.plan("roberta-tiny", save="20%", quiet=True, **shape)
        >>> plans.best.predicted.peak_bytes <= plans.limit_bytes
        True
    """
    start = time.monotonic()
    SKETCHES.check(sketch)
    share = _share(save)
    if share is not None and memory is not None:
        raise UsageError("memory and save say the same; give one of them")
    asked = Asked(_bytes(memory), max_inflation, min_throughput).checked(saves=share is not None)
    read = (NoiseFile.read(Path(noise)), str(noise)) if noise is not None else None
    timed = None
    if ratios is not None:
        timed = MeasuredRatios(Run.open(Path(ratios)).records(), str(ratios))
    with importable(model) as name:
        case = case_of(name, task, batch_size, seq_len, settings | {"memory_device": "predict"})
        if case.steps:
            raise UsageError("a plan is of the unchanged model; leave out method, rho and the like")
        check_names([case])
        process.preload([MODELS.module(name.partition(":")[0]), find_plans.__module__])
        check_models([case], _LIMIT_SECONDS)
        request = Request(case, sketch, asked, share, read, timed)
        with showing(quiet=quiet) as heard:
            found: Plans = process.follow(
                find_plans, request, heard=heard, limit_seconds=_LIMIT_SECONDS
            )
    return replace(found, seconds=time.monotonic() - start)


def _bytes(memory: str | int | None) -> int | None:
    if memory is None:
        return None
    try:
        found = parse_bytes(str(memory))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if found == 0:
        raise ArgumentError("memory", f" must be above 0, got {memory!r}")
    return found


def _share(save: str | float | None) -> float | None:
    if save is None:
        return None
    try:
        return parse_fraction(str(save))
    except ValueError as error:
        raise ArgumentError("save", f" {error}") from None
