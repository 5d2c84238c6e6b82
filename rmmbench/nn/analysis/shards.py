"""Tensors that are spread over ranks: what of them is here, and what is done only to plan them."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass_type

if TYPE_CHECKING:
    from rmmbench.results.timeline import Part


@cache
def is_of_others(kind: type) -> bool:
    """Tell whether tensors of a class hold no numbers themselves, but other tensors that do."""
    return is_traceable_wrapper_subclass_type(kind)


def local(values: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors among some values and lists of such; of one over ranks, what is here."""
    for value in values:
        if isinstance(value, Tensor):
            if is_of_others(type(value)):
                names, _ = value.__tensor_flatten__()  # type: ignore[attr-defined]
                yield from local(getattr(value, name) for name in names)
            else:
                yield value
        elif isinstance(value, list | tuple):
            yield from local(value)


_About = Callable[..., "list[tuple[Part, Any]]"]

_SENT: Final[Mapping[str, _About]] = {
    "c10d::_allgather_base_": lambda args, _: [("gathered", args[:1])],
    "fsdp::split_with_sizes_copy": lambda _, named: [("gathered", named["out"])],
    "fsdp::chunk_cat": lambda args, named: [("gradients", args[0]), ("reducing", [named["out"]])],
    "c10d::_reduce_scatter_base_": lambda args, _: [("reducing", args[:2])],
    "c10d::allreduce_": lambda args, _: [("reducing", args[0])],
}
"""What operators of FSDP2, and the last one of DDP, are about, by name."""


def sent(
    operator: Any, args: Sequence[Any], named: Mapping[str, Any]
) -> "list[tuple[Part, Sequence[Tensor]]]":
    """Return which tensors of an operator's are gathered from other ranks, or on their way there.

    Args:
        operator: Any that a dispatch mode sees.
        args: What it was called with.
        named: The same, by name.
    """
    about = _SENT.get(operator.name())
    return [] if about is None else about(args, named)


def around_sharding(entered: Callable[[], AbstractContextManager[None]] | None) -> None:
    """Enter something whenever torch finds out how an operator is sharded; for None nothing.

    It runs the operator on fake tensors of whole sizes then, for their shapes alone.
    """
    module = sys.modules.get("torch.distributed.tensor._sharding_prop")
    if module is None:
        return
    kind = module.ShardingPropagator
    shapes = kind._propagate_tensor_meta_non_cached
    shapes = getattr(shapes, "__wrapped__", shapes)
    kind._propagate_tensor_meta_non_cached = shapes if entered is None else _within(entered, shapes)


def _within(
    entered: Callable[[], AbstractContextManager[None]], function: Callable[..., Any]
) -> Callable[..., Any]:
    @wraps(function)
    def called(*args: Any) -> Any:
        with entered():
            return function(*args)

    return called
