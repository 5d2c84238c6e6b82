"""The unchanged model: what everything else is compared with."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from rmmbench.methods.method import Method
from rmmbench.spec.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


class Exact(Method[Settings]):
    """Changes nothing."""

    is_exact = True

    def apply(self, model: "nn.Module", settings: Settings, batch: "Mapping[str, Tensor]") -> int:
        """Return 0."""
        return 0

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()
