"""Sketches whose x_proj has some of the rows of X, each times a scale."""

import torch
from torch import Tensor

# Elements that are scaled together: a product in higher precision takes a copy.
_PIECE_ELEMENTS = 2**21


def scaled_rows(x: Tensor, picked: Tensor, scales: Tensor | float) -> Tensor:
    """Return x[picked] · scales, in x's dtype.

    All rows, or all rows of one norm as after LayerNorm, have one scale. In bfloat16 and float16
    it must not be rounded before the product. A scale near a power of two is lost even after it:
    each number times 1.001 is that number again, and the gradient is up to 0.4 % too short. So in
    these dtypes the scales differ by up to ±ε of the dtype, with the same mean square, and rounding
    up and down evens out. The order of the rows is random already.

    Args:
        x: Shape (rows, features).
        picked: The numbers of the rows, int32, in random order.
        scales: One per row, float32 or x's dtype, shape (len(picked), 1), or one for all.
    """
    x_proj = x.index_select(0, picked)
    if x.dtype in (torch.float32, torch.float64):
        return x_proj.mul_(scales)
    scales = _ramp(len(picked), x) * scales
    height = max(1, _PIECE_ELEMENTS // max(1, x.shape[1]))
    for rows, factors in zip(torch.split(x_proj, height), torch.split(scales, height), strict=True):
        rows.mul_(factors)
    return x_proj


def _ramp(count: int, like: Tensor) -> Tensor:
    """Return even steps from 1 − ε to 1 + ε with mean square 1, float32, shape (count, 1)."""
    eps = torch.finfo(like.dtype).eps
    places = torch.arange(1 - count, count, 2, device=like.device, dtype=torch.float32).unsqueeze(1)
    mean_square = 1 + eps**2 * (1 - count**-2) / 3
    return places.mul_(eps / count).add_(1).mul_(mean_square**-0.5)
