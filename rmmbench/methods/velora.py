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

from typing import Annotated, Any

from rmmbench.methods._compressing import Compressing
from rmmbench.spec.ranges import Count, Name
from rmmbench.spec.settings import Setting, Settings


class VeLoRASettings(Settings):
    """What is kept of which layers.

    Attributes:
        group_size: Features that make a sub-token.
        include, exclude: Patterns of the layers to convert, by qualified name.
    """

    group_size: Annotated[Count, Setting("groups of {}", varies=True)] = 64
    include: tuple[Name, ...] = ()
    exclude: tuple[Name, ...] = ()


class VeLoRA(Compressing[VeLoRASettings]):
    """Makes linear layers keep coefficients of their input."""

    _name = "velora"

    def _convert(self, layer: Any, settings: VeLoRASettings) -> None:
        import torch
        from torch import nn

        from rmmbench.methods._subtokens import SubTokens
        from rmmbench.nn.swap import compress

        features = layer.weight.shape[1 if isinstance(layer, nn.Linear) else 0]
        compress(layer, SubTokens())
        direction = torch.zeros(min(settings.group_size, features), device=layer.weight.device)
        layer.register_buffer("direction", direction, persistent=False)
        layer.has_direction = False
