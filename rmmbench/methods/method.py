"""What a way of saving memory is: a change of a model, and a switch back to compare with."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from rmmbench.spec.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

S = TypeVar("S", bound=Settings)


class Method(ABC, Generic[S]):
    """One way of saving memory while training, with settings of the class S.

    Laws: within `reference` a changed model has the unchanged one's outputs and gradients; after
    it, its own again. Parameters stay the same objects. No random number of torch's is drawn.

    Attributes:
        takes_over: The parts of a training step that the method decides about; of two methods that
            take over one part there is no stack.
        is_exact: Whether gradients stay those of the unchanged model, but for rounding.
    """

    takes_over: ClassVar[frozenset[str]] = frozenset()
    is_exact: ClassVar[bool] = False

    @abstractmethod
    def apply(self, model: "nn.Module", settings: S, batch: "Mapping[str, Tensor]") -> int:
        """Change the model in place as the settings say, and return how many parts of it changed.

        Args:
            model: In training mode.
            settings: The method's own.
            batch: The keyword arguments that the model will be trained on; not changed.

        Raises:
            ValueError: If the model cannot take the method.
        """

    @abstractmethod
    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which a changed model trains exactly as the unchanged one does."""

    def is_exact_with(self, settings: S) -> bool:
        """Return `is_exact`, for a method whose settings decide."""
        return self.is_exact

    def lacks(self, device: str) -> str | None:
        """Return why there is nothing to tell of the method on a device, None if there is.

        Args:
            device: "cuda", "cpu", or "predict".
        """
        return None
