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

from typing import Annotated, Any, Literal

from rmmbench.methods._compressing import Compressing
from rmmbench.spec.ranges import Name, Rho
from rmmbench.spec.settings import Setting, Settings


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


class ExactRP(Compressing[ExactRPSettings]):
    """Makes linear layers keep a projection of their input."""

    _name = "exact-rp"

    def _convert(self, layer: Any, settings: ExactRPSettings) -> None:
        from rmmbench.methods._projected import Projected
        from rmmbench.nn.swap import compress

        compress(layer, Projected(settings.rho, settings.bits))
