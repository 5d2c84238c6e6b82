"""EXACT's way of saving: linear layers keep a random projection of the features of their input.

Liu, Zhou, Yang, Li, Chen, Hu (2022): EXACT: Scalable Graph Neural Networks Training via Extreme
Activation Compression. ICLR 2022.

Where `rmm` mixes the rows of an input X, this mixes its features: of X, shape (rows, N), a layer
keeps X_p = X R, with R of shape (N, k), independent entries ±k^−½, k = ⌈ρN⌉. As E[R Rᵀ] = I, the
weight gradient (Yᵀ X_p) Rᵀ is unbiased. X_p may be kept in 2, 4 or 8 bits a number: each row is cut
into 2^bits − 1 equal steps from its minimum on, and each number goes to one of the two levels
beside it at random, so that its mean stays. Every layer keeps its own, Q, K and V too.

Of a gradient G the projection's error has E‖G R Rᵀ − G‖²_F = ‖G‖²_F (N − 1) / k, however many the
rows are: about 1 / ρ times the gradient itself. Few bits add to that.

EXACT compresses more than inputs of linear layers, such as the masks of ReLU and dropout and what
batch normalisation keeps. That is not done here.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Literal

from rmmbench.methods.method import Method
from rmmbench.spec.ranges import Name, Rho
from rmmbench.spec.settings import Setting, Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


class ExactRPSettings(Settings):
    """What is kept of which layers.

    Attributes:
        rho: Features that are kept ÷ features.
        bits: Of a number that is kept; None for no fewer than it has.
        include, exclude: Patterns of the layers to convert, by qualified name.
    """

    rho: Annotated[Rho, Setting(varies=True, amount=True)]
    bits: Annotated[
        Literal[2, 4, 8] | None, Setting("{} bits", varies=True, amount=True, alone="{} bits")
    ] = None
    include: tuple[Name, ...] = ()
    exclude: tuple[Name, ...] = ()


class ExactRP(Method[ExactRPSettings]):
    """Makes each linear layer that the patterns let through keep a projection."""

    takes_over = frozenset({"the inputs of linear layers"})

    def apply(
        self, model: "nn.Module", settings: ExactRPSettings, batch: "Mapping[str, Tensor]"
    ) -> int:
        """Convert the model's linear layers and return how many were.

        Raises:
            ValueError: If no linear layer is left to convert.
        """
        from rmmbench.methods._projected import Projected
        from rmmbench.nn.candidates import linear_layers
        from rmmbench.nn.patterns import select
        from rmmbench.nn.swap import check_forwards, compress

        layers = linear_layers(model)
        if not layers:
            raise ValueError("exact-rp must have a linear layer to convert, and the model has none")
        chosen = {name: layers[name] for name in select(layers, settings.include, settings.exclude)}
        check_forwards(chosen)
        for layer in chosen.values():
            compress(layer, Projected(settings.rho, settings.bits))
        return len(chosen)

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which every layer is exact."""
        from rmmbench.methods._projected import Projected
        from rmmbench.nn.compressed_layers import compressed_layers
        from rmmbench.nn.conversion import all_exact

        return all_exact(compressed_layers(model, Projected))
