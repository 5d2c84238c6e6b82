"""What takes long in torch for many ranks or parameters, and what does the same in less time."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final
from unittest import mock

from torch import Tensor


@contextmanager
def quicker() -> Iterator[None]:
    """Within, torch does some things in less time, with the same result."""
    with ExitStack() as stack:
        for where, name, instead in _QUICKER:
            stack.enter_context(_replaced(where, name, instead))
        yield


@dataclass(frozen=True)
class Chunks:
    """A tensor's parts as `torch.chunk` makes them, each when it is asked for; then empty ones.

    Attributes:
        tensor: That is taken apart.
        count: How many parts there are.
        dim: Along which it is.
    """

    tensor: Tensor
    count: int
    dim: int

    def __getitem__(self, number: int) -> Tensor:
        """Return the part of a number."""
        length = self.tensor.shape[self.dim]
        size = -(-length // self.count)
        start = number * size
        if start >= length:
            return self.tensor.new_empty(0)
        return self.tensor.narrow(self.dim, start, min(size, length - start))


def number_by_number(propagate: Callable[..., Any]) -> Callable[..., Any]:
    """Return what finds the sharding of an operator's results, at once if its inputs are alike."""
    from torch.distributed.tensor._op_schema import OutputSharding

    @wraps(propagate)
    def propagated(propagator: Any, schema: Any) -> Any:
        lists = _alike(schema) if _is_for_each(propagator, schema.op) else []
        if not lists:
            return propagate(propagator, schema)
        is_in_place = schema.op._schema.is_mutable
        return OutputSharding(None if is_in_place else tuple(lists[0]))

    return propagated


def _is_for_each(propagator: Any, operator: Any) -> bool:
    """Tell whether an operator does something with each number of each tensor of a list."""
    is_list = operator.name().startswith("aten::_foreach_")
    return is_list and operator in propagator.op_single_dim_strategy_funcs


def _alike(schema: Any) -> Sequence[Sequence[Any]]:
    """Return the lists of sharded tensors that an operator reads; none unless shards are alike."""
    from torch.distributed.tensor._dtensor_spec import DTensorSpec

    given = (*schema.args_schema, *schema.kwargs_schema.values())
    if any(isinstance(each, DTensorSpec) for each in given):
        return []
    lists = [each for each in given if isinstance(each, list | tuple)]
    lists = [each for each in lists if each and isinstance(each[0], DTensorSpec)]
    for specs in zip(*lists, strict=True):
        first = specs[0]
        if any(_way(each) != _way(first) for each in specs):
            return []
        if any(placement.is_partial() for placement in first.placements):
            return []
    return lists


def _way(spec: Any) -> tuple[Any, ...]:
    return spec.mesh, spec.placements, spec.tensor_meta.shape, spec.tensor_meta.dtype


_QUICKER: Final = (
    # It makes the shards of all ranks, of which one is used.
    (
        "torch.distributed.fsdp._fully_shard._fsdp_param",
        "_chunk_with_empty",
        lambda _: Chunks,
    ),
    # For each parameter it looks at every one, for a placement that a mesh of one dimension lacks.
    (
        "torch.distributed.tensor._sharding_prop",
        "_propagate_use_strided_shard_flag",
        lambda _: lambda *_: None,
    ),
    # For each parameter it takes the lists of all apart, to choose among ways to shard it.
    (
        "torch.distributed.tensor._sharding_prop",
        "ShardingPropagator.propagate_op_sharding_non_cached",
        number_by_number,
    ),
)
"""Module, name, and what makes of it what does instead."""


def _replaced(where: str, name: str, quicker: Callable[[Any], Any]) -> AbstractContextManager[Any]:
    *path, last = name.split(".")
    home: Any = importlib.import_module(where)
    for part in path:
        home = getattr(home, part, None)
    found = getattr(home, last, None)
    return nullcontext() if found is None else mock.patch.object(home, last, quicker(found))
