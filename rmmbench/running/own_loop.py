"""`rmmbench.watch`: a training loop of somebody's own, changed, watched and recorded."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import nn

from rmmbench.errors import ArgumentError
from rmmbench.running.wanted import Wanted
from rmmbench.running.watched_case import Loop, device_of
from rmmbench.running.watched_loop import Watch


def watch(
    model: nn.Module,
    optimizer: Any = None,
    out: str | Path | None = None,
    *,
    batch_size: int | None = None,
    noise: str | Iterable[str] = (),
    every: int = 50,
    noise_rho: float = 0.5,
    noise_bits: int | None = None,
    example: Any = None,
    **settings: Any,
) -> Watch:
    """Change a model, watch the steps of the loop that trains it, and record what they cost.

    Enclose each training step in `with watch.step():`, or call `begin()` and `end()`, where a
    framework calls back. Memory is measured in the first two steps, and those that follow are
    timed, data loading left out. A record is written when the watch is left, or by `finish()`;
    `rmmbench table`, `check` and `report` read it. One directory gathers several trainings, so that
    exact and sketched ones stand side by side; one of the same case takes the place of that before.

    Args:
        model: Changed in place. Its parameters stay the same objects, so the optimizer may be made
            before or after.
        optimizer: For a record: its state is part of what rests in memory.
        out: The run directory; None for no record.
        batch_size: Samples in a micro-batch; for a record.
        noise: Patterns of the layers whose gradient noise is watched ("*.output.dense").
        every: One step in so many is watched.
        noise_rho: Compression rate for the noise of layers without a sketch.
        noise_bits: Of a number of x_proj, for the noise of these layers; None for no rounding.
        example: A batch of the model's keyword arguments, for where="beneficial".
        settings: What changes the model: sketch, rho, bits, where, method …, or plan; none leaves
            it as it is. Also what nothing but you knows of a step: dtype ("bfloat16" for autocast),
            accumulate, clip_norm, seq_len, seed, task.

    Raises:
        TypeError: If there is no setting of a name.
        ValueError: If settings contradict each other, or the model cannot be changed so.
        UsageError: If a value is not possible.
        RunError: If `out` is in use, holds something else, or cannot be written.

    Examples:
        >>> import rmmbench, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.GELU())
        >>> optimizer = torch.optim.AdamW(model.parameters())
        >>> about = {"batch_size": 64, "sketch": "oporp", "rho": 0.25}
        >>> with rmmbench.watch(model, optimizer, "runs/mine", **about) as watch:
        ...     for _ in range(4):
        ...         with watch.step():
        ...             model(torch.randn(64, 8)).square().mean().backward()
        ...             optimizer.step()
        ...             optimizer.zero_grad()
        >>> watch.record.outcome, watch.record.converted
        ('ok', 1)
    """
    how = {"noise_rho": noise_rho, "noise_bits": noise_bits, "example": example}
    wanted = Wanted.of(out, noise, every, settings, **how)
    loop = None
    if wanted.out is not None:
        for name, value in (("optimizer", optimizer), ("batch_size", batch_size)):
            if value is None:
                raise ArgumentError(name, " must be given for a record, got None")
    watched = Watch(model, wanted)
    if batch_size is not None:
        loop = Loop(batch_size, device_of(model), optimizer, watched.own, wanted.told)
    is_first = not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0
    watched.start(loop, records=is_first)
    return watched
