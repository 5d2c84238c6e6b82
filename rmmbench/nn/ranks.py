"""Check that the processes that train one model sketch with the same settings."""

from typing import Any

import torch.distributed as dist
from torch import nn

from rmmbench.nn.conversion import converted_layers


def check_same_settings(model: nn.Module) -> None:
    """Raise ValueError on every rank if the ranks' converted layers or their settings differ.

    Gradients are averaged over ranks, so the larger noise of one rank would reach all, unnoticed.
    Without torch.distributed there is nothing to compare.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    mine = {name: layer.settings.given() for name, layer in converted_layers(model).items()}
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, mine)
    first = ranks[0]
    for rank, theirs in enumerate(ranks):
        for name in first | theirs:
            _compare(name, first.get(name), theirs.get(name), rank)


def _compare(
    layer: str, first: dict[str, Any] | None, other: dict[str, Any] | None, rank: int
) -> None:
    if first is None or other is None:
        ranks = (0, rank) if other is None else (rank, 0)
        need = f"layer '{layer}' must be sketched on every rank or on none"
        given = f"got a sketch on rank {ranks[0]} and none on rank {ranks[1]}"
        raise ValueError(f"{need}, {given}; convert the same layers on all")
    for name in first | other:
        values = first.get(name), other.get(name)
        if values[0] != values[1]:
            given = f"got {values[0]} on rank 0 and {values[1]} on rank {rank}"
            where = f"in layer '{layer}'; convert alike on all"
            raise ValueError(f"{name} must be the same on every rank, {given} {where}")
