"""RMMLinear: `torch.nn.Linear`, with a sketch of its input kept in place of the input."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from rmmbench.nn.compressed_layers import Compressed, CompressedLinear
from rmmbench.nn.functional import Sketching, rmm_linear
from rmmbench.nn.principal import place_basis
from rmmbench.nn.sharing import SharedInput
from rmmbench.nn.size import SketchSettings


class Sketched(Compressed):
    """What a sketched layer has besides its parameters."""

    compression: Sketching

    @property
    def settings(self) -> SketchSettings:
        """Which sketch, and how large."""
        return self.compression.settings

    @settings.setter
    def settings(self, settings: SketchSettings) -> None:
        before, self.compression = self.settings, self.compression._replace(settings=settings)
        # A basis that still fits goes on following.
        if settings.principal != before.principal:
            place_basis(self, settings.principal)

    @property
    def shared(self) -> SharedInput | None:
        """What it shares with layers that read the same tensor; None if it shares nothing."""
        return self.compression.shared

    def apply_linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return input · weightᵀ + bias; in training mode a sketch of the input is kept."""
        if isinstance(input, Proxy) and self.training and not self.exact:
            return rmm_linear(input, weight, bias, **self.settings.given())
        return super().apply_linear(input, weight, bias)

    def describe_settings(self) -> str:
        """Return the settings as `repr` shows them."""
        return ", ".join([self.settings.in_words(), *["exact"] * self.exact])


class RMMLinear(Sketched, CompressedLinear):
    """A linear layer that keeps proj_dim × in_features numbers of its input for the gradient.

    Its parameters, their names and its outputs are `torch.nn.Linear`'s.

    Args:
        in_features: Size of the last dimension of the input.
        out_features: Size of the last dimension of the output.
        bias: Whether there is a bias.
        device: Of the parameters.
        dtype: Of the parameters.
        settings: Those of `rmm_linear`: sketch, rho, proj_dim, min_proj_dim, max_proj_dim, bits,
            and the sketch's own; and principal, the number of principal features whose part of the
            gradient is exact.

    Raises:
        TypeError: If a setting does not exist or has the wrong type.
        ValueError: If the settings make no sense; see `rmm_linear`.

    Examples:
        >>> import rmmbench, torch
        >>> layer = rmmbench.RMMLinear(8, 4, sketch="oporp", rho=0.5)
        >>> layer(torch.zeros(2, 32, 8)).shape
        torch.Size([2, 32, 4])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **settings: Any,
    ) -> None:
        """Make the parameters as `torch.nn.Linear` does."""
        checked = SketchSettings.of(settings, beside=("bias", "device", "dtype"))
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        self.compression, self.exact = Sketching(checked), False
        place_basis(self, checked.principal)

    @classmethod
    def from_linear(cls, linear: nn.Linear, **settings: Any) -> "RMMLinear":
        """Return a sketched layer with the same parameters, mode and device as `linear`.

        Raises:
            TypeError: If `linear` is not a `torch.nn.Linear`, or a setting has the wrong type.
            ValueError: If the settings make no sense; see `rmm_linear`.
        """
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"linear must be a torch.nn.Linear, got {type(linear).__name__}")
        layer = cls(linear.in_features, linear.out_features, False, device="meta", **settings)
        layer.weight, layer.bias = linear.weight, linear.bias
        place_basis(layer, layer.settings.principal)
        return layer.train(linear.training)

    def extra_repr(self) -> str:
        """Return nn.Linear's description and the sketch."""
        return f"{super().extra_repr()}, {self.describe_settings()}"
