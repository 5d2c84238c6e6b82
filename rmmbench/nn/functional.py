"""The linear map whose weight gradient is estimated from a sketch of its input.

Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets (2022): Memory-Efficient Backpropagation
through Large Linear Layers. arXiv 2201.13195.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import Proxy

from rmmbench.nn import ops
from rmmbench.nn.autocast import outside_of_autograd
from rmmbench.nn.compressed import compressed_linear
from rmmbench.nn.sharing import SharedInput
from rmmbench.nn.size import SketchSettings
from rmmbench.sketches.sketch import seed_tensor


def rmm_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    sketch: str = "gaussian",
    rho: float | None = None,
    proj_dim: int | None = None,
    min_proj_dim: int = 1,
    max_proj_dim: int | None = None,
    bits: int | None = None,
    seed: int | Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Apply a linear map whose weight gradient is estimated from a sketch of its input.

    Output, input gradient and bias gradient are exact. The weight gradient is unbiased:
    E[(SᵀY)ᵀ(SᵀX)] = YᵀX [Bershatsky et al. 2022, eq. 4, alg. 1]. This is
    `torch.nn.functional.linear`, and nothing is drawn, if the weight needs no gradient, if proj_dim
    would reach the rows and no bits are given, or if no sketch is possible (sparse, strided nested
    or complex tensors, transforms of `torch.func`, forward mode).

    Args:
        input: Shape (*, in_features); its leading dimensions together are the rows. The rows of
            a nested tensor of jagged layout follow one another.
        weight: Shape (out_features, in_features).
        bias: Shape (out_features,).
        sketch: A name of `rmmbench.sketches.names()`.
        rho: Compression rate proj_dim / rows, in (0, 1]; 1 takes the exact path, or with bits keeps
            the input in few bits without a sketch.
        proj_dim: The projection dimension itself, instead of rho.
        min_proj_dim: The least proj_dim, whatever rho says.
        max_proj_dim: The greatest proj_dim.
        bits: In how many a number of SᵀX is kept: 8, 4, 2, or None for all. Each is rounded at
            random to one of the two levels beside it, so that its mean stays.
        seed: Of S, an integer or an int64 tensor with one; drawn if it is None.
        settings: The sketch's own.

    Returns:
        Shape (*, out_features), in the dtype `torch.nn.functional.linear` would give.

    Raises:
        TypeError: If a setting or the seed has the wrong type.
        ValueError: If rho is outside (0, 1], not exactly one of rho and proj_dim is given, a
            size is below 1, there are no such bits, or the sketch is unknown or has no S for so
            many rows.

    Saves for backward: proj_dim × in_features elements and one 8-byte seed; `norm-rows` saves 16
    bytes for each row that it keeps instead of the seed. With bits, each row takes
    ⌈in_features · bits / 8⌉ bytes and 4 for each 64 features.

    Examples:
        >>> import rmmbench, torch
        >>> x, weight = torch.randn(64, 8), torch.randn(4, 8, requires_grad=True)
        >>> rmmbench.rmm_linear(x, weight, rho=0.5).sum().backward()
        >>> weight.grad.shape
        torch.Size([4, 8])
    """
    settings |= {"sketch": sketch, "rho": rho, "proj_dim": proj_dim}
    settings |= {"min_proj_dim": min_proj_dim, "max_proj_dim": max_proj_dim, "bits": bits}
    chosen = SketchSettings.of(settings, beside=("seed",))
    if chosen.principal is not None:
        need = "principal must be a setting of a layer, which has a basis that follows its inputs"
        raise TypeError(f"{need}, got {chosen.principal} for a function; use RMMLinear or convert")
    if isinstance(input, Proxy):
        call = {**chosen.given(), "seed": seed}
        return input.tracer.create_proxy("call_function", rmm_linear, (input, weight, bias), call)
    return compressed_linear(input, weight, bias, Sketching(chosen, seed))


class Sketching(NamedTuple):
    """Keeps a sketch in place of the input.

    Attributes:
        settings: Which sketch, and how large, checked.
        seed: Of S; drawn if it is None.
        shared: Where layers that read the same input find its sketch; None to share nothing.
    """

    settings: SketchSettings
    seed: int | Tensor | None = None
    shared: SharedInput | None = None

    @property
    def beside(self) -> tuple[str, ...]:
        """The attributes that a layer has for it."""
        return () if self.settings.principal is None else ("basis",)

    def at(self, shape: torch.Size) -> "SketchedProduct | None":
        """Return how to compute the weight gradient; None to keep the input."""
        keeping = self.settings.keeping(shape)
        return None if keeping is None else SketchedProduct(*keeping)

    def keep(
        self, input: Tensor, x: Tensor, estimator: "SketchedProduct", layer: Any
    ) -> tuple[Tensor, ...]:
        """Return SᵀX, in few bits if asked, and the key of S: drawn here or another layer's."""
        # A compiler merges equal calls itself, and knows where the tensor was changed.
        shared = None if torch.compiler.is_compiling() else self.shared
        settings = (estimator, x.dtype)
        found = None if shared is None else shared.find(input, settings)
        given = None if self.seed is None else seed_tensor(self.seed, torch.device("cpu"))
        kept = estimator.sketch_of(x, given, found, layer)
        if shared is not None and found is None:
            shared.keep(input, settings, kept)
        return kept


class SketchedProduct(NamedTuple):
    """The weight gradient (SᵀY)ᵀ(SᵀX), and what the operators need to know of S besides its key.

    Attributes:
        proj_dim: Columns of S.
        sketch: As `sketches.get` takes it; empty if S is the identity.
        bits: Of a number of SᵀX; None for all.
        principal: Features whose part is exact, so that X here is the rest; None for none.
    """

    proj_dim: int
    sketch: str
    bits: int | None = None
    principal: int | None = None

    def sketch_of(
        self, x: Tensor, seed: Tensor | None, found: tuple[Tensor, ...] | None, layer: Any
    ) -> tuple[Tensor, ...]:
        """Return SᵀX and the key of S, or what another layer `found`; in bits, levels and ends.

        With principal features also theirs, see `principal.split_off`; the layer's basis follows.
        """
        size = (self.proj_dim, self.sketch)
        if self.principal is not None:
            others = (self.bits or 0, seed, *(found or (None,) * 5))
            with outside_of_autograd(x):
                *kept, following = ops.principal_sketch(x, *size, *others, layer.basis)
                if found is None:
                    layer.basis.copy_(following)
            return tuple(kept)
        if self.bits is None:
            return tuple(ops.call(ops.sketch, x, *size, seed, *(found or (None,) * 2)))
        bits = (self.bits, seed, *(found or (None,) * 3))
        return tuple(ops.call(ops.sketch_in_bits, x, *size, *bits))

    def gradients(
        self, y: Tensor, kept: tuple[Tensor, ...], weight: Tensor, has_bias: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of weight and bias, from one pass over y if the sketch has one."""
        exact, kept = (kept[:2], kept[2:]) if self.principal is not None else ((), kept)
        *x_proj, key = kept
        y_proj, sums = self._projected(y, key, has_bias)
        if self.bits is None:
            gradient = y_proj.T @ x_proj[0]
        else:
            size = (weight.shape[1], self.bits)
            gradient = ops.call(ops.product_in_bits, y_proj, *size, *x_proj)
        if exact:
            coefficients, directions = (part.to(y.dtype) for part in exact)
            gradient.addmm_((coefficients.T @ y).T, directions.T)
        return gradient, sums

    def _projected(self, y: Tensor, key: Tensor, has_bias: bool) -> tuple[Tensor, Tensor | None]:
        """Return SᵀY, and the sum of Y's rows if it is needed."""
        if not self.sketch:
            return y, y.sum(0) if has_bias else None
        size = (self.proj_dim, self.sketch)
        if has_bias:
            y_proj, sums = ops.call(ops.project_and_sum, y, *size, key)
            return y_proj, sums
        return ops.call(ops.project, y, *size, key), None
