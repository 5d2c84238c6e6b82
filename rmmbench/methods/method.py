"""What a way of saving memory is: a change of a model, and a switch back to time against."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rmmbench.case import Case


class Method(ABC):
    """One way of saving memory while training."""

    @abstractmethod
    def apply(self, model: "nn.Module", case: "Case", batch: "Mapping[str, Tensor]") -> int:
        """Change the model in place as the case asks, and return how many layers changed.

        Args:
            model: In training mode.
            case: What it asks of other methods is passed over.
            batch: The keyword arguments that the model will be trained on; not changed.

        Raises:
            ValueError: If the model cannot take the method.
        """

    @abstractmethod
    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which a changed model trains exactly as the unchanged one does."""
