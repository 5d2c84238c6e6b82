"""Several methods on one model."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import combinations

from torch import Tensor, nn

from rmmbench.errors import UsageError
from rmmbench.methods.method import Method
from rmmbench.spec.case import Case


class Stack(Method):
    """Methods that are applied one after the other, each to what those before it have changed."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        """Join `methods`, by name, in the order they are applied.

        Raises:
            UsageError: If two of them take over the same part of a training step.
        """
        for (one, first), (other, second) in combinations(methods.items(), 2):
            both = sorted(first.takes_over & second.takes_over)
            if both:
                why = f"both take over {' and '.join(both)}"
                raise UsageError(f"{one} and {other} cannot be combined: {why}; choose one of them")
        self._methods: Sequence[Method] = list(methods.values())

    def apply(self, model: nn.Module, case: Case, batch: Mapping[str, Tensor]) -> int:
        """Apply every method and return how many parts changed in all."""
        return sum(method.apply(model, case, batch) for method in self._methods)

    def reference(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which none of the methods acts."""
        return self._reference(model)

    def lacks(self, device: str) -> str | None:
        """Return what the first method that lacks something on a device lacks."""
        return next(filter(None, (method.lacks(device) for method in self._methods)), None)

    @contextmanager
    def _reference(self, model: nn.Module) -> Iterator[None]:
        with ExitStack() as stack:
            for method in reversed(self._methods):
                stack.enter_context(method.reference(model))
            yield
