"""The unchanged model: what everything else is compared with."""

from contextlib import AbstractContextManager, nullcontext

from torch import nn

from rmmbench.methods.method import Method
from rmmbench.record import Case


class Exact(Method):
    """Changes nothing."""

    def apply(self, model: nn.Module, case: Case) -> int:
        """Return 0."""
        return 0

    def reference(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()
