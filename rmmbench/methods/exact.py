"""The unchanged model: what everything else is compared with."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from rmmbench.methods.method import Method
from rmmbench.spec.case import Case


class Exact(Method):
    """Changes nothing."""

    is_exact = True

    def apply(self, model: nn.Module, case: Case, batch: Mapping[str, Tensor]) -> int:
        """Return 0."""
        return 0

    def reference(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()
