"""Draws S many times at one point of training, to compare the noise with its closed form."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rmmbench import sketches
from rmmbench.kernels.rounding import restored, round_to_bits
from rmmbench.measures.gradient.exact_part import sampled
from rmmbench.measures.gradient.rounding_terms import rounding_noise, rounding_ratios
from rmmbench.nn.analysis.layer_variance import noise_in_bits
from rmmbench.nn.size import Keeping, SketchSettings
from rmmbench.results.gradient_noise import DrawnNoise
from rmmbench.results.layer_sums import LayerSums
from rmmbench.results.stage import Stage
from rmmbench.sketches.sketch import Moments, Sketch

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
        rest: What of X is sketched, if a part of the gradient is exact; None for all of it.
    """

    layer: str
    step: int
    x: Tensor
    y: Tensor
    rest: Tensor | None = None

    @property
    def sketched(self) -> Tensor:
        """What is sketched."""
        return self.x if self.rest is None else self.rest

    def flat(self, matrix: Tensor) -> Tensor:
        """Return one of its tensors as a matrix, in float32 or better."""
        precise = torch.promote_types(self.x.dtype, torch.float32)
        return matrix.to(precise).reshape(-1, matrix.shape[-1])


def draw_noise(
    point: Point,
    *,
    names: Iterable[str] | None = None,
    rates: Iterable[float] = RATES,
    bits: int | None = None,
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
        bits: Of a number of x_proj, which is rounded in each draw; None for no rounding.
        draws: How often S is drawn for each sketch and ρ; at least 2.
        seed: Of the first draw; each next draw has the next seed.
        announce: Called with the sketch that is drawn.

    Raises:
        ValueError: If draws is below 2, a sketch is unknown, a rate is outside (0, 1], or bits are
            not 8, 4 or 2.
    """
    if draws < 2:
        raise ValueError(f"draws must be at least 2, got {draws}")
    rates, found = list(rates), []
    sums = _sums(point)
    asked = list(sketches.names() if names is None else names)
    for number, name in enumerate(asked):
        said = f"drawing {name} {draws} times at each of {len(rates)} ρ"
        announce(Stage.of(said, number / len(asked)))
        chosen = [SketchSettings(name, rho, bits=bits).checked() for rho in rates]
        drawn = [_drawn(point, sums, each, range(seed, seed + draws)) for each in chosen]
        found += [noise for noise in drawn if noise is not None]
    return found


def _sums(point: Point) -> LayerSums:
    """Return the sums of the point, with what rounding adds."""
    moments = Moments.of(point.sketched, point.y)
    told = {name: getattr(moments, name) for name in ("a", "g", "d", "g_samples", "sampled")}
    rows = math.prod(point.x.shape[:-1])
    rounding = rounding_noise(rounding_ratios(point.sketched, point.y), rows, moments)
    return LayerSums(rows=rows, samples=len(point.x), rounding=rounding, **told)


def _drawn(
    point: Point, sums: LayerSums, settings: SketchSettings, seeds: range
) -> DrawnNoise | None:
    name = settings.sketch
    has_factors = sketches.SKETCHES.get(name).has_factors
    if has_factors and (point.x.dim() < 3 or _moments_bytes(point) > _MOMENTS_BYTES):
        return None
    keeping = settings.keeping(point.x.shape)
    if keeping is None or keeping.proj_dim >= sums.rows:
        return None
    sketch = sketches.get(keeping.sketch)
    squared = torch.stack(list(_squared_errors(point, sketch, keeping, seeds)))
    x, y, sketched = map(point.flat, (point.x, point.y, point.sketched))
    moments = sketch.moments(sketched, y)
    if point.rest is not None:
        moments = moments._replace(sampled=float(sampled(x, sketched, y)))
    assert settings.rho is not None
    return DrawnNoise(
        step=point.step,
        layer=point.layer,
        sketch=name,
        rho=settings.rho,
        proj_dim=keeping.proj_dim,
        bits=keeping.bits,
        predicted=noise_in_bits(sketch, sums, moments, keeping.proj_dim, keeping.bits),
        measured=squared.mean().item(),
        standard_error=squared.std().item() / math.sqrt(len(seeds)),
        draws=len(seeds),
        exact=torch.linalg.vector_norm(x.T @ y, dim=1).double().square().sum().item(),
    )


def _squared_errors(
    point: Point, sketch: Sketch, keeping: Keeping, seeds: range
) -> Iterator[Tensor]:
    """Yield ‖XᵀS SᵀY − XᵀY‖² of each seed, with SᵀX in few bits if it is kept so."""
    x, y = point.flat(point.sketched), point.flat(point.y)
    exact, both = x.T @ y, torch.cat([x, y], dim=1)
    for number in seeds:
        seed = torch.tensor(number, device=x.device)
        key = sketch.draw(point.flat(point.x), keeping.proj_dim, seed)
        x_proj, y_proj = sketch.project(both, keeping.proj_dim, key).tensor_split(
            [x.shape[1]], dim=1
        )
        if keeping.bits is not None:
            kept = round_to_bits(x_proj, keeping.bits, seed)
            x_proj = restored(*kept, x.shape[1], keeping.bits, x.dtype)
        error = torch.addmm(exact, x_proj.T, y_proj, beta=-1)
        yield torch.linalg.vector_norm(error, dim=1).double().square().sum()


def _moments_bytes(point: Point) -> int:
    return 8 * point.x.numel() * point.y.shape[-1]
