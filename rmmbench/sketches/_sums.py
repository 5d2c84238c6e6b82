"""Sums over a layer's input X and output gradient Y, which determine the noise of its gradient.

X_s and Y_s are the rows of one sample, which are consecutive. Products are in float32, or for
float64 in float64; they are added up in float64.
"""

import torch
from torch import Tensor

# Elements of the samples' products: few enough for a processor's cache, or else per piece.
_CACHED_ELEMENTS, _PIECE_ELEMENTS = 2**20, 2**24


def moment_sums(x: Tensor, y: Tensor, block_rows: int | None = None) -> Tensor:
    """Return the first seven fields of `Moments` in order, float64, on the device of `x`.

    The work is that of XᵀY, plus at most as much again for samples of L rows: L·(N + M) / (N·M) of
    it where that is less. Extra memory: a few times XᵀY, or 64 MiB if that is more.

    Args:
        x: Shape (*, N). The first dimension is the samples; a matrix has one row per sample.
        y: Shape (*, M), with the leading dimensions of `x`.
        block_rows: Consecutive rows per block.
    """
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        precise = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        x, y = (_by_sample(matrix.detach().to(precise)) for matrix in (x, y))
        x_norms, y_norms = (torch.linalg.vector_norm(m, dim=-1).double().view(-1) for m in (x, y))
        x_squares, y_squares = x_norms.square(), y_norms.square()
        a = x_squares.sum() * y_squares.sum()
        g, g_samples = _squared_products(x, y)
        d = x_squares.dot(y_squares)
        sampled = x_norms.sum() * x_norms.dot(y_squares)
        a_blocks, g_blocks = a, g
        if block_rows is not None:
            x, y = (matrix.reshape(-1, block_rows, matrix.shape[-1]) for matrix in (x, y))
            in_blocks = x_squares.view(-1, block_rows), y_squares.view(-1, block_rows)
            a_blocks = (in_blocks[0].sum(1) * in_blocks[1].sum(1)).sum()
            g_blocks = _squares_of_each(x, y)
        return torch.stack([a, g, d, g_samples, sampled, a_blocks, g_blocks])


def _by_sample(matrix: Tensor) -> Tensor:
    """Return the matrix in the shape (samples, rows per sample, features)."""
    samples = matrix.shape[0] if matrix.dim() > 1 else 1
    return matrix.reshape(samples, -1, matrix.shape[-1])


def _squared_products(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return ‖XᵀY‖² and Σ_s ‖X_sᵀY_s‖²."""
    samples, features, outputs = x.shape[0], x.shape[2], y.shape[2]
    if x.shape[1] > 1 and samples * features * outputs <= _CACHED_ELEMENTS:
        products = x.mT @ y
        return _square(products.sum(0)), _square(products)
    whole = _square(x.flatten(0, 1).T @ y.flatten(0, 1))
    return whole, (whole if samples == 1 else _squares_of_each(x, y))


def _squares_of_each(x: Tensor, y: Tensor) -> Tensor:
    """Return Σ_s ‖X_sᵀY_s‖², from products of Gram matrices where that is less work."""
    (_, rows, features), outputs = x.shape, y.shape[2]
    by_grams = rows * (features + outputs) < features * outputs
    at_once = max(1, _PIECE_ELEMENTS // (rows * rows if by_grams else features * outputs))
    total = x.new_zeros((), dtype=torch.float64)
    for some_x, some_y in zip(torch.split(x, at_once), torch.split(y, at_once), strict=True):
        if by_grams:
            grams = (some_x @ some_x.mT).mul_(some_y @ some_y.mT)
            total += grams.sum(dtype=torch.float64)
        else:
            total += _square(some_x.mT @ some_y)
    return total


def _square(matrix: Tensor) -> Tensor:
    """Return the squared Frobenius norm, summed in float64 without a copy."""
    norms: Tensor = torch.linalg.vector_norm(matrix, dim=-1).double().view(-1)
    return norms.dot(norms)
