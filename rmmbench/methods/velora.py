"""VeLoRA's way of saving: linear layers keep one coefficient of each few features of their input.

Miles, Reddy, Elezi, Deng (2024): VeLoRA: Memory Efficient Training using Rank-1 Sub-Token
Projections. NeurIPS. arXiv 2405.17991.

Of an input X, shape (rows, N), each row is cut into sub-tokens of `group_size` features. A layer
has one unit vector v of that length: its mean sub-token in the first batch that it is trained on,
normalised; it stays as it is from then on. Of each sub-token only the coefficient along v is kept.
With V = I ⊗ v, shape (N, N / group_size), what is kept is X V, and the weight gradient is

    (Yᵀ X V) Vᵀ = (YᵀX) V Vᵀ,

a projection of the exact one: nothing is random, and no number of steps averages the error out.
Of each output it keeps a rank-1 part: N / group_size numbers of N. The products take less work
than the exact one, rows · M · N / group_size for M outputs instead of rows · M · N.

A layer whose features group_size does not divide has a shorter last sub-token, as if zeros filled
it up; one with fewer features than that has one sub-token a row. As published, the method converts
value and down projections only; here patterns choose. Every layer keeps its own, Q, K
and V too.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

from rmmbench.methods.method import Method
from rmmbench.spec.ranges import Count, Name
from rmmbench.spec.settings import Setting, Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


class VeLoRASettings(Settings):
    """What is kept of which layers.

    Attributes:
        group_size: Features that make a sub-token.
        include, exclude: Patterns of the layers to convert, by qualified name.
    """

    group_size: Annotated[Count, Setting("groups of {}", varies=True)] = 64
    include: tuple[Name, ...] = ()
    exclude: tuple[Name, ...] = ()


class VeLoRA(Method[VeLoRASettings]):
    """Makes each linear layer that the patterns let through keep coefficients."""

    takes_over = frozenset({"the inputs of linear layers"})

    def apply(
        self, model: "nn.Module", settings: VeLoRASettings, batch: "Mapping[str, Tensor]"
    ) -> int:
        """Convert the model's linear layers and return how many were.

        Raises:
            ValueError: If no linear layer is left to convert.
        """
        import torch
        from torch import nn

        from rmmbench.methods._subtokens import SubTokens
        from rmmbench.nn.candidates import linear_layers
        from rmmbench.nn.patterns import select
        from rmmbench.nn.swap import check_forwards, compress

        layers = linear_layers(model)
        if not layers:
            raise ValueError("velora must have a linear layer to convert, and the model has none")
        chosen = {name: layers[name] for name in select(layers, settings.include, settings.exclude)}
        check_forwards(chosen)
        for layer in chosen.values():
            is_linear = isinstance(layer, nn.Linear)
            features = layer.weight.shape[1 if is_linear else 0]
            size = min(settings.group_size, features)
            compress(layer, SubTokens())
            direction = torch.zeros(size, device=layer.weight.device)
            layer.register_buffer("direction", direction, persistent=False)
            layer.has_direction = False
        return len(chosen)

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which every layer is exact."""
        from rmmbench.methods._subtokens import SubTokens
        from rmmbench.nn.compressed_layers import compressed_layers
        from rmmbench.nn.conversion import all_exact

        return all_exact(compressed_layers(model, SubTokens))
