"""Counts the work of a training step on fake tensors, beside its memory; none of it is a time."""

from typing import Any, Final

import torch
from torch.utils.flop_counter import flop_registry

from rmmbench.measures.memory.categories import NO_WORK
from rmmbench.nn.analysis.live import LiveBytes
from rmmbench.nn.analysis.shards import local
from rmmbench.results.counts import Counts

aten = torch.ops.aten

_MAKE_NOTHING: Final = {
    *(aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided),
    *(aten.detach, aten.alias, aten.lift_fresh),
}
"""Operators that neither read nor write a number."""

_ATTENTIONS: Final = (
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_cudnn_attention,
)

_QUERY_AT: Final = {
    **dict.fromkeys(_ATTENTIONS, 0),
    **{getattr(aten, f"{each.__name__}_backward"): 1 for each in _ATTENTIONS},
}
"""Operators of attention that have a formula, and the place of the query, key and value."""


class CountedWork(LiveBytes):  # type: ignore[no-untyped-call]
    """Counts live bytes, and between `begin_counts` and `counts` the work of every operator.

    Views and operators that only make room are no work. What a sketch operator does inside counts
    with its formula, and its input and result as moved.
    """

    def begin_counts(self) -> None:
        """Start to count from nothing."""
        self._flops = self._moved_bytes = self._calls = 0
        self._is_counting = True

    def counts(self) -> Counts:
        """Stop, and return what was counted."""
        self._is_counting = False
        return self.so_far()

    def so_far(self) -> Counts:
        """Return what was counted since the beginning."""
        return Counts(flops=self._flops, moved_bytes=self._moved_bytes, operator_calls=self._calls)

    _is_counting = False

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator, count what it made and what it did."""
        result = super()._run(func, args, kwargs)
        if self._is_counting and not self.is_inside and does_work(func):
            self._calls += 1
            self._moved_bytes += _bytes_of(args, tuple(kwargs.values()), result)
            formula = flop_registry.get(func._overloadpacket)
            if formula is not None:
                args = _with_every_head(func._overloadpacket, args)
                self._flops += int(formula(*args, **kwargs, out_val=result))
        return result


def _with_every_head(operator: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments for a formula: of keys and values that queries share, whole shapes.

    A kernel does as much with them; torch 2.11's formulas take no others.
    """
    place = _QUERY_AT.get(operator)
    if place is None:
        return args
    query, *shared = args[place : place + 3]
    shapes = [torch.Size((*query.shape[:2], *each.shape[2:])) for each in shared]
    return (*args[: place + 1], *shapes, *args[place + 3 :])


def does_work(operator: Any) -> bool:
    """Tell whether an operator reads or writes numbers."""
    return not (
        operator.is_view
        or operator.namespace in NO_WORK
        or operator._overloadpacket in _MAKE_NOTHING
    )


def _bytes_of(*values: Any) -> int:
    """Return the bytes of all tensors among some values, each as often as it is there."""
    return sum(tensor.numel() * tensor.itemsize for tensor in local(values))
