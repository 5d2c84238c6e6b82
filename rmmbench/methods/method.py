"""What a way of saving memory is: a change of a model, and a switch back to time against."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from rmmbench.record import Case


class Method(ABC):
    """One way of saving memory while training."""

    @abstractmethod
    def apply(self, model: "nn.Module", case: "Case") -> int:
        """Change the model in place as the case asks, and return how many layers changed.

        Raises:
            ValueError: If the model cannot take the method.
        """

    @abstractmethod
    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which a changed model trains exactly as the unchanged one does."""
