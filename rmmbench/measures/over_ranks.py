"""What the processes of one step agree on; in one process alone it is that one's."""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def of_all(mine: T) -> list[T]:
    """Return what every rank has, in their order; called by all."""
    if not is_one_of_many():
        return [mine]
    found: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return found  # type: ignore[return-value]


def of_first(find: Callable[[], T]) -> T:
    """Return what the first rank finds; it alone looks, and all call this."""
    if not is_one_of_many():
        return find()
    found = [find() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(found)
    return found[0]  # type: ignore[return-value]


def wait_for_all() -> None:
    """Return once every rank has come here."""
    longest(0.0)


def longest(seconds: float) -> float:
    """Return what the slowest rank took; called by all."""
    if not is_one_of_many():
        return seconds
    most = torch.tensor(seconds, dtype=torch.float64)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return float(most)


def is_one_of_many() -> bool:
    """Tell whether this process does a step together with others."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
