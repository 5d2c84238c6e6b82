"""What autograd saves is kept in few bits: 8, 4 or 2 a number.

Chen, Zheng, Yao, Wang, Stoica, Mahoney, Gonzalez (2021): ActNN: Reducing Training Memory Footprint
via 2-Bit Activation Compressed Training. ICML 2021, arXiv:2104.14129.
Liu, Zheng, Wang, Cen, Chen, Han, Chen, Liu, Tang, Gonzalez, Mahoney, Cheung (2022): GACT:
Activation Compressed Training for Generic Network Architectures. ICML 2022, arXiv:2206.11357.

Each group of numbers that follow one another in memory is cut into 2^bits − 1 equal steps between
its least and its greatest number, and each number goes to one of the two levels beside it at
random, so that its mean stays. A group of two values, such as a mask of dropout, comes back as it
was; so does one of a single value.

Gradients that are linear in each tensor kept, as those of linear layers, products and dropout are,
stay unbiased. Through GELU, layer normalisation and softmax they are so to first order in the
step. A derivative that is a comparison, as ReLU's with 0, is not: of the numbers that are less
than a step away from it some change sides.

ActNN and GACT choose the bits of each layer by its sensitivity. Here all have as many.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Literal

from rmmbench.methods.method import Method
from rmmbench.spec.ranges import Count
from rmmbench.spec.settings import Setting, Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


class QuantizeSettings(Settings):
    """How little is kept of a number.

    Attributes:
        bits: Of a number.
        group_size: Numbers that share their extremes.
    """

    bits: Annotated[
        Literal[2, 4, 8], Setting("{} bits", varies=True, amount=True, alone="{} bits")
    ] = 8
    group_size: Annotated[Count, Setting("groups of {}", varies=True)] = 256


class Quantize(Method[QuantizeSettings]):
    """Keeps the floating-point numbers that autograd saves in few bits.

    Left as they are: storages below 64 KiB or of fewer numbers than a group, statistics of rows (a
    last dimension of 1 or 2), float64, whole numbers and truth values, and the copies that autocast
    makes of weights that are trained.
    """

    # A forward pass that is done again with rounded inputs would round its outputs' mean too.
    takes_over = frozenset({"what autograd saves", "recomputation"})

    def apply(
        self, model: "nn.Module", settings: QuantizeSettings, batch: "Mapping[str, Tensor]"
    ) -> int:
        """Change how autograd saves in the model's forward pass, and return 1 for it."""
        from rmmbench.methods._few_bits import FewBits
        from rmmbench.methods._saved import KeptForward

        KeptForward(model, FewBits(settings.bits, settings.group_size))
        return 1

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which nothing is rounded."""
        from rmmbench.methods._saved import kept_exactly

        return kept_exactly(model)
