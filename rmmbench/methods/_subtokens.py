"""What a layer keeps that keeps, of each few features of its input, one coefficient.

Write X for the input, shape (rows, N), s for the size of a sub-token, and cut each row into
g = ⌈N / s⌉ of them; what the last one lacks is zeros. With a unit vector v of length s and
V = I_g ⊗ v, without the rows of those zeros, of shape (N, g), what is kept is Z = X V, and the
weight gradient is (Yᵀ Z) Vᵀ. That is YᵀX V Vᵀ.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor

from rmmbench.nn.autocast import outside_of_autograd

# Elements of the weight gradient that are there in float32 at a time.
_PIECE_ELEMENTS = 2**20


class SubTokens(NamedTuple):
    """Keeps Z = X V. The weight gradient is biased, see above; nothing is random.

    The layer has v, float32, as its buffer `direction`, which is not in the state dict: zeros until
    there was a first batch, which `has_direction` tells. The first that is trained on decides.

    Saves for backward: rows · ⌈in_features / size⌉ elements.
    """

    @property
    def beside(self) -> tuple[str, ...]:
        """The attributes that a layer has for it."""
        return "direction", "has_direction"

    def at(self, shape: torch.Size) -> "SubTokens | None":
        """Return what makes the weight gradient; None where there is nothing to save."""
        return None if 0 in shape else self

    def keep(
        self, input: Tensor, x: Tensor, estimator: "SubTokens", layer: Any
    ) -> tuple[Tensor, ...]:
        """Return Z and v."""
        if not layer.has_direction:
            layer.direction.copy_(mean_direction(x, len(layer.direction)))
            layer.has_direction = True
        with outside_of_autograd(x):
            return _coefficients(x, layer.direction), layer.direction

    def gradients(
        self, y: Tensor, kept: tuple[Tensor, ...], weight: Tensor, has_bias: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of weight and bias."""
        coefficients, direction = kept
        gradient = _spread(y.T @ coefficients, direction, weight.shape[1])
        return gradient, y.sum(0) if has_bias else None


def mean_direction(input: Tensor, size: int) -> Tensor:
    """Return the mean sub-token of an input at length 1, float32.

    Where the mean is zero, all entries are equal instead.

    Args:
        input: Shape (*, features).
        size: Of a sub-token.
    """
    features = input.shape[-1]
    with outside_of_autograd(input):
        column_means = input.reshape(-1, features).mean(0, dtype=torch.float32)
        mean = F.pad(column_means, (0, -features % size)).view(-1, size).sum(0)
        norm = torch.linalg.vector_norm(mean)
        return torch.where(norm > 0, mean / norm, size**-0.5)


def _coefficients(x: Tensor, direction: Tensor) -> Tensor:
    """Return Z = X V, shape (rows, groups)."""
    direction, size = direction.to(x.dtype), len(direction)
    whole = x.shape[1] - x.shape[1] % size
    parts = [x[:, :whole].reshape(len(x), -1, size) @ direction] if whole else []
    if whole < x.shape[1]:
        # Apart, as to fill up the rows would be to copy them.
        parts.append((x[:, whole:] @ direction[: x.shape[1] - whole]).unsqueeze(1))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _spread(y_z: Tensor, direction: Tensor, features: int) -> Tensor:
    """Return (YᵀZ) Vᵀ, shape (out_features, in_features)."""
    # Z is of a v rounded to Y's dtype, whose length is not quite 1; this makes up for both.
    precise = direction.to(y_z.dtype).to(torch.promote_types(y_z.dtype, torch.float32))
    precise = precise / precise.square().sum()
    spread = y_z.new_empty(*y_z.shape, len(direction))
    height = max(1, _PIECE_ELEMENTS // max(1, spread[:1].numel()))
    for some, out in zip(torch.split(y_z, height), torch.split(spread, height), strict=True):
        out.copy_(some.unsqueeze(2) * precise)
    return spread.flatten(1)[:, :features]
