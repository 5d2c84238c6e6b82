"""PRAC's way of saving: linear layers keep principal features of their input, and random ones.

Li, Zhang, Fang (2026): PRAC: Principal-Random Subspace for LLM Activation Compression and
Memory-Efficient Training. arXiv 2602.23111.

Of the N features of an input X a layer keeps r₁ + r₂ = ⌈ρN⌉ combinations: its part in a principal
subspace, which an orthonormal Q₁ spans, and its part in a subspace drawn at random from what is
orthogonal to that one, which Q₂ spans. With the scale s = (N − r₁) / r₂ of the second part the
weight gradient

    (Yᵀ X Q₁) Q₁ᵀ + s · (Yᵀ X Q₂) Q₂ᵀ

is unbiased, whatever Q₁ is. Of the gradient's part R outside of the principal subspace the error
has E‖·‖²_F = ‖R‖²_F ((N − r₁) / r₂ − 1); the part inside is exact.

What is not as published: the paper finds the subspace by a singular value decomposition every so
often, and here one step of subspace iteration at each call follows it from the last call's, so that
no call takes longer than another. It starts from the first r₁ features. Random features are drawn
at each call. Only linear layers are converted, each with features of its own, Q, K and V too.
"""

from typing import Annotated, Any

from rmmbench.methods._compressing import Compressing
from rmmbench.spec.ranges import Fraction, Name, Rho
from rmmbench.spec.settings import Setting, Settings


class PRACSettings(Settings):
    """What is kept of which layers.

    Attributes:
        rho: Features that are kept ÷ features.
        principal_share: Of these, those that are principal; one at least is random.
        include, exclude: Patterns of the layers to convert, by qualified name.
    """

    rho: Annotated[Rho, Setting(varies=True, amount=True)]
    principal_share: Annotated[Fraction, Setting("{} principal", varies=True)] = 0.5
    include: tuple[Name, ...] = ()
    exclude: tuple[Name, ...] = ()


class PRAC(Compressing[PRACSettings]):
    """Makes linear layers keep principal and random features of their input."""

    _name = "prac"

    def _convert(self, layer: Any, settings: PRACSettings) -> None:
        import torch
        from torch import nn

        from rmmbench.methods._principal import PrincipalAndRandom
        from rmmbench.nn.swap import compress

        compression = PrincipalAndRandom(settings.rho, settings.principal_share)
        weight = layer.weight
        features = weight.shape[1 if isinstance(layer, nn.Linear) else 0]
        compress(layer, compression)
        dtype = torch.promote_types(weight.dtype, torch.float32)
        principal, _ = compression.ranks(features)
        basis = torch.eye(features, principal, dtype=dtype, device=weight.device)
        layer.register_buffer("basis", basis, persistent=False)
