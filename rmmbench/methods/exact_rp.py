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

from torch import Tensor, nn

from rmmbench.methods._projected import Projected
from rmmbench.methods.method import Method
from rmmbench.nn.candidates import linear_layers
from rmmbench.nn.compressed_layers import compressed_layers
from rmmbench.nn.conversion import all_exact
from rmmbench.nn.patterns import select
from rmmbench.nn.swap import check_forwards, compress
from rmmbench.spec.case import Case


class ExactRP(Method):
    """Makes each linear layer that the case's patterns let through keep a projection."""

    takes_over = frozenset({"the inputs of linear layers"})

    def apply(self, model: nn.Module, case: Case, batch: Mapping[str, Tensor]) -> int:
        """Convert the model's linear layers and return how many were.

        Raises:
            ValueError: If the case has no rho, or no linear layer is left to convert.
        """
        if case.rho is None:
            raise ValueError("rho must be given for exact-rp, got none; choose one in (0, 1]")
        layers = linear_layers(model)
        if not layers:
            raise ValueError("exact-rp must have a linear layer to convert, and the model has none")
        chosen = {name: layers[name] for name in select(layers, case.include, case.exclude)}
        check_forwards(chosen)
        for layer in chosen.values():
            compress(layer, Projected(case.rho, case.bits))
        return len(chosen)

    def reference(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which every layer is exact."""
        return all_exact(compressed_layers(model, Projected))
