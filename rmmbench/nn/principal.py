"""An exact part of the weight gradient: that in a few principal features of a layer's input.

Write X for the input, shape (rows, N), and V for r directions of features, shape (N, r). What a
layer keeps is C = X V, rounded to 16 bits, V as well, and a sketch of the rest R = X − C Vᵀ. Its
weight gradient is YᵀC Vᵀ, which is exact, and the estimate of YᵀR. Whatever V and C are, their sum
is unbiased, since R takes up what they leave. As the rest is smaller than X, so is the noise.

V is one step of subspace iteration further than at the last call, from the sketch that was made
there: with P = SᵀX the next basis is PᵀP V. All of this is one operator, so that a checkpoint keeps
C, V and the sketch of R together, or makes all of them again; what the layer's basis has become by
then does not matter.
"""

from typing import Any

import torch
from torch import Tensor, nn

from rmmbench import sketches
from rmmbench.kernels.levels import new_rounded
from rmmbench.kernels.rounding import round_to_bits

# Of unit columns: what keeps directions apart that the basis no longer tells apart.
_JITTER = 1e-4


def split_off(
    x: Tensor, proj_dim: int, sketch: str, bits: int, seed: Tensor, basis: Tensor
) -> tuple[Tensor, ...]:
    """Return C, V, the sketch of R (its levels and ends, or itself and nothing), its key, and PᵀPV.

    Args:
        x: X.
        proj_dim: Columns of S.
        sketch: As `sketches.get` takes it; empty if S is the identity.
        bits: Of a number of SᵀR; 0 for all.
        seed: Of S and of rounding.
        basis: What the last call returned, shape (N, r).
    """
    kept = x.dtype if x.dtype.itemsize == 2 else torch.bfloat16
    directions = orthonormal(basis).to(kept)
    across = directions.to(x.dtype)
    coefficients = (x @ across).to(kept)
    inside = coefficients.to(x.dtype)
    key, whole, inside_of_whole = seed, x, inside
    if sketch:
        chosen = sketches.get(sketch)
        key = chosen.draw(x, proj_dim, seed)
        whole = chosen.project(x, proj_dim, key)
        inside = chosen.project(inside, proj_dim, key)
        inside_of_whole = whole @ across
    # At length 1, as 16 bits might overflow.
    unit = inside_of_whole / inside_of_whole.float().norm().clamp_min(1e-30).to(x.dtype)
    # By a few rows, which is many times faster on a CPU than by a few columns.
    following = (unit.T @ whole).T.to(basis.dtype).contiguous()
    following = torch.where(following.isfinite().all(), following, basis)
    rest = torch.addmm(whole, inside, across.T, alpha=-1)
    del whole
    if not bits:
        return coefficients, directions, rest, x.new_empty(0), key, following
    return coefficients, directions, *round_to_bits(rest, bits, seed), key, following


def new_split(
    x: Tensor, proj_dim: int, sketch: str, bits: int, basis: Tensor
) -> tuple[Tensor, ...]:
    """Return room for what `split_off` returns."""
    kept = x.dtype if x.dtype.itemsize == 2 else torch.bfloat16
    exact = [x.new_empty(size, basis.shape[1], dtype=kept) for size in x.shape]
    rest = x.new_empty(proj_dim, x.shape[1]), x.new_empty(0)
    if bits:
        rest = new_rounded(x, bits, rows=proj_dim)
    key = x.new_empty((), dtype=torch.int64)
    if sketch:
        key = sketches.get(sketch).new_key(x, proj_dim)
    return *exact, *rest, key, basis.new_empty(basis.shape)


def split_flops(rows: int, features: int, principal: int, proj_dim: int, sketch: str) -> int:
    """Return the multiplications and additions of `split_off`, without those that make S or V."""
    product = 2 * features * principal
    if not sketch:
        return 3 * product * rows
    chosen = sketches.get(sketch)
    sketching = sum(chosen.flops(rows, width, proj_dim) for width in (features, principal))
    return sketching + product * (rows + 3 * proj_dim)


def orthonormal(basis: Tensor) -> Tensor:
    """Return an orthonormal basis of as many directions, which are those of `basis` if it has them.

    Where it has not, or is not finite, the first features fill it up. The factorisation is of a
    small matrix and waits for nothing on a GPU.
    """
    columns = basis.double()
    columns = torch.where(columns.isfinite().all(), columns, 0.0)
    columns = columns / torch.linalg.vector_norm(columns, dim=0).clamp_min(1e-300)
    first = torch.eye(*columns.shape, dtype=torch.float64, device=basis.device)
    columns = columns + _JITTER * first
    lower = torch.linalg.cholesky_ex(columns.T @ columns).L
    rows: Tensor = torch.linalg.solve_triangular(lower, columns.T, upper=False)
    return rows.T.to(basis.dtype)


def place_basis(layer: Any, principal: int | None) -> None:
    """Give a layer the buffer for its basis, or take it away; it is not in the state dict."""
    if "basis" in layer._buffers:
        del layer.basis
    if principal is not None:
        weight = layer.weight
        features = weight.shape[1 if isinstance(layer, nn.Linear) else 0]
        if layer.split is not None:
            features = layer.split.features(features)
        dtype = torch.promote_types(weight.dtype, torch.float32)
        size = (features, min(principal, features))
        basis = torch.eye(*size, dtype=dtype, device=weight.device)
        layer.register_buffer("basis", basis, persistent=False)
