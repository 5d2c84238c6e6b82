"""Several methods on one model, or one, or none."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import combinations
from typing import TYPE_CHECKING, Any

from rmmbench.errors import UsageError
from rmmbench.methods.method import Method
from rmmbench.spec.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

    Settled = tuple[Method[Any], Settings]


class Stack:
    """Methods that are applied one after the other, each to what those before it have changed."""

    def __init__(self, methods: "Mapping[str, Settled]") -> None:
        """Join `methods` and their settings, by name, in the order they are applied.

        Raises:
            UsageError: If two of them take over the same part of a training step.
        """
        for (one, (first, _)), (other, (second, _)) in combinations(methods.items(), 2):
            both = sorted(first.takes_over & second.takes_over)
            if both:
                why = f"both take over {' and '.join(both)}"
                raise UsageError(f"{one} and {other} cannot be combined: {why}; choose one of them")
        self._methods: Sequence[Settled] = list(methods.values())

    @property
    def is_exact(self) -> bool:
        """Whether gradients stay those of the unchanged model, but for rounding."""
        return all(method.is_exact_with(settings) for method, settings in self._methods)

    def takes_over(self, part: str) -> bool:
        """Return whether one of the methods decides about a part of a training step."""
        return any(part in method.takes_over for method, _ in self._methods)

    def apply(self, model: "nn.Module", batch: "Mapping[str, Tensor]") -> int:
        """Apply every method to a model in training mode; return how many parts changed in all.

        Raises:
            ValueError: If the model cannot take one of them.
        """
        return sum(method.apply(model, settings, batch) for method, settings in self._methods)

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which none of the methods acts."""
        return self._reference(model)

    def lacks(self, device: str) -> str | None:
        """Return what the first method that lacks something on a device lacks."""
        return next(filter(None, (method.lacks(device) for method, _ in self._methods)), None)

    @contextmanager
    def _reference(self, model: "nn.Module") -> Iterator[None]:
        with ExitStack() as stack:
            for method, _ in reversed(self._methods):
                stack.enter_context(method.reference(model))
            yield
