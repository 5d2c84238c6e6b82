"""Methods that make linear layers keep something smaller than their input."""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from rmmbench.methods.method import Method, S

if TYPE_CHECKING:
    from torch import Tensor, nn


class Compressing(Method[S]):
    """Converts the linear layers that `include` and `exclude` of its settings select."""

    takes_over = frozenset({"the inputs of linear layers"})
    _name: ClassVar[str]

    def apply(self, model: "nn.Module", settings: Any, batch: "Mapping[str, Tensor]") -> int:
        """Convert linear layers and return how many.

        Raises:
            ValueError: If no linear layer is left to convert.
        """
        from rmmbench.nn.candidates import linear_layers
        from rmmbench.nn.patterns import select
        from rmmbench.nn.swap import check_forwards

        layers = linear_layers(model)
        if not layers:
            need = f"{self._name} must have a linear layer to convert"
            raise ValueError(f"{need}, and the model has none")
        chosen = {name: layers[name] for name in select(layers, settings.include, settings.exclude)}
        check_forwards(chosen)
        for layer in chosen.values():
            self._convert(layer, settings)
        return len(chosen)

    @abstractmethod
    def _convert(self, layer: Any, settings: S) -> None:
        """Convert one linear layer in place."""

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which every converted layer is exact."""
        from rmmbench.nn.compressed_layers import named_compressed
        from rmmbench.nn.conversion import all_exact
        from rmmbench.nn.layer import Sketched

        layers = named_compressed(model).values()
        return all_exact(layer for layer in layers if not isinstance(layer, Sketched))
