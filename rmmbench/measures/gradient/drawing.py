"""Draws S many times at one point of training, to compare the noise with its closed form."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from rmmbench import sketches
from rmmbench.nn.size import SketchSettings
from rmmbench.results.gradient_noise import DrawnNoise

RATES = (0.05, 0.1, 0.2, 0.5, 0.9)
# The most that the closed form of a sketch with two factors may hold: the float64 outer products of
# all rows.
_MOMENTS_BYTES = 2**30


class Point(NamedTuple):
    """One layer at one step of training.

    Attributes:
        layer: Qualified name.
        step: The optimizer step.
        x: The layer's input, shape (*, in_features).
        y: The gradient of its output, shape (*, out_features).
    """

    layer: str
    step: int
    x: Tensor
    y: Tensor


def draw_noise(
    point: Point,
    *,
    names: Iterable[str] | None = None,
    rates: Iterable[float] = RATES,
    draws: int = 200,
    seed: int = 0,
    announce: Callable[[str], None] = lambda stage: None,
) -> list[DrawnNoise]:
    """Return the squared error of sketched weight gradients, predicted and measured.

    Rates that would keep every row are left out. A sketch with factors over batch and sequence is
    left out if X has no sequence, or its closed form would take more than 1 GiB.

    Args:
        point: Where to draw.
        names: Of sketches; all registered ones if None.
        rates: Compression rates ρ.
        draws: How often S is drawn for each sketch and ρ; at least 2.
        seed: Of the first draw; each next draw has the next seed.
        announce: Called with the sketch that is drawn.

    Raises:
        ValueError: If draws is below 2, a sketch is unknown, or a rate is outside (0, 1].
    """
    if draws < 2:
        raise ValueError(f"draws must be at least 2, got {draws}")
    rates, found = list(rates), []
    for name in sketches.names() if names is None else names:
        announce(f"drawing {name} {draws} times at each of {len(rates)} ρ")
        drawn = [_drawn(point, name, rho, range(seed, seed + draws)) for rho in rates]
        found += [noise for noise in drawn if noise is not None]
    return found


def _drawn(point: Point, name: str, rho: float, seeds: range) -> DrawnNoise | None:
    settings = SketchSettings(name, rho).checked()
    has_factors = sketches.SKETCHES.get(name).has_factors
    if has_factors and (point.x.dim() < 3 or _moments_bytes(point) > _MOMENTS_BYTES):
        return None
    proj_dim, text = settings.at(point.x.shape)
    precise = torch.promote_types(point.x.dtype, torch.float32)
    x, y = (matrix.to(precise).reshape(-1, matrix.shape[-1]) for matrix in (point.x, point.y))
    rows = x.shape[0]
    if proj_dim >= rows:
        return None
    sketch, both, exact = sketches.get(text), torch.cat([x, y], dim=1), x.T @ y
    errors = []
    for seed in seeds:
        key = sketch.draw(x, proj_dim, torch.tensor(seed, device=x.device))
        x_proj, y_proj = sketch.project(both, proj_dim, key).tensor_split([x.shape[1]], dim=1)
        error = torch.addmm(exact, x_proj.T, y_proj, beta=-1)
        errors.append(torch.linalg.vector_norm(error, dim=1).double().square().sum())
    squared = torch.stack(errors)
    return DrawnNoise(
        step=point.step,
        layer=point.layer,
        sketch=name,
        rho=rho,
        proj_dim=proj_dim,
        predicted=sketch.variance(sketch.moments(x, y), rows, proj_dim),
        measured=squared.mean().item(),
        standard_error=squared.std().item() / math.sqrt(len(seeds)),
        draws=len(seeds),
        exact=torch.linalg.vector_norm(exact, dim=1).double().square().sum().item(),
    )


def _moments_bytes(point: Point) -> int:
    return 8 * point.x.numel() * point.y.shape[-1]
