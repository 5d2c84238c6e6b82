"""The two matrices in the paper's formulas, and the values of the formulas for them."""

import torch
from torch import Tensor

from rmmbench import sketches
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.sketches.sketch import Moments


def generator(seed: int) -> torch.Generator:
    """Return a generator for a claim's matrices."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, random: torch.Generator) -> Tensor:
    """Return independent normal numbers in float64."""
    return torch.randn(*shape, generator=random, dtype=torch.float64)


def input_and_gradient(
    rows: int, agreement: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return X with 6 and Y with 5 columns; the norms of their rows rise from row to row.

    Args:
        rows: The number of rows of both.
        agreement: How much all rows have in common, at least 0; α rises with it.
        random: The generator that draws the numbers.
    """
    both = normal(rows, 11, random=random) + agreement * normal(11, random=random)
    both *= torch.linspace(0.5, 1.5, rows, dtype=torch.float64).unsqueeze(1)
    return both[:, :6].contiguous(), both[:, 6:].contiguous()


def noise_of(x: Tensor, y: Tensor, proj_dim: int, samples: int | None = None) -> LayerNoise:
    """Return the noise of the weight gradient that X and Y, shape (rows, features), determine.

    Args:
        x: The layer's input.
        y: The gradient of its output.
        proj_dim: The sketch's projection dimension.
        samples: The number of samples, each with as many rows; None for one row per sample.
    """
    rows = x.shape[0]
    x, y = (matrix.view(samples or rows, -1, matrix.shape[1]) for matrix in (x, y))
    moments = Moments.of(x, y)
    return LayerNoise(
        step=1,
        layer="",
        rows=rows,
        samples=samples or rows,
        proj_dim=proj_dim,
        a=moments.a,
        g=moments.g,
        d=moments.d,
        g_samples=moments.g_samples,
        variances={"gaussian": sketches.get("gaussian").variance(moments, rows, proj_dim)},
    )
