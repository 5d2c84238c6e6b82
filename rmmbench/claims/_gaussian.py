"""The error of products with a Gaussian S, drawn directly as the paper defines it."""

import torch
from torch import Tensor

from rmmbench.claims._estimate import Estimate
from rmmbench.claims._layer import normal

_AT_ONCE = 1000


def squared_error(
    x: Tensor, y: Tensor, proj_dim: int, draws: int, random: torch.Generator
) -> Estimate:
    """Return E‖XᵀS SᵀY − XᵀY‖²_F [eq. 10] for independent entries of variance 1/proj_dim [eq. 5].

    Args:
        x: Shape (rows, features).
        y: Shape (rows, others).
        proj_dim: Columns of S.
        draws: How many S to draw, a multiple of 1000.
        random: The generator that draws them.
    """
    exact, errors = x.T @ y, []
    for _ in range(draws // _AT_ONCE):
        s = normal(_AT_ONCE, x.shape[0], proj_dim, random=random) * proj_dim**-0.5
        estimates = (x.T @ s) @ (s.transpose(1, 2) @ y)
        errors.append((estimates - exact).square().sum((1, 2)))
    return Estimate.of(torch.cat(errors))
