"""The noise of many ways of keeping X, from the sums of the watched layers; none is drawn."""

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby, product

import torch

from rmmbench.nn.analysis.layer_variance import layer_variance
from rmmbench.nn.size import Keeping, SketchSettings
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.results.kept_noise import KeptNoise
from rmmbench.results.layer_sums import BITS
from rmmbench.results.noise_file import WatchedLayer, averaged

RATES = (1.0, 0.8, 0.5, 0.4, 0.2, 0.1)


def ways_of_keeping(
    layers: Iterable[WatchedLayer],
    sketch: str,
    itemsize: int,
    rates: Iterable[float] = RATES,
) -> list[KeptNoise]:
    """Return the noise of a sketch at every rate, in every number of bits, and of bits alone.

    Args:
        layers: The layers whose input is kept so.
        sketch: A registered name whose noise follows from a layer's sums.
        itemsize: Bytes of a number of X.
        rates: Compression rates ρ; at 1 every row is kept.

    Raises:
        ValueError: If the sketch's noise does not follow from the sums, or there is no layer.
    """
    layers = list(layers)
    if not layers:
        raise ValueError("ways of keeping need the sums of a layer at least, got none")
    rates = sorted({*rates, 1.0}, reverse=True)
    ways = [(rho, bits) for rho, bits in product(rates, (None, *BITS)) if rho < 1 or bits]
    return [_way(layers, sketch, itemsize, rho, bits) for rho, bits in ways]


def way_with_exact_part(
    noise: Iterable[LayerNoise], sketch: str, rho: float, itemsize: int
) -> KeptNoise | None:
    """Return the noise of layers as they were trained, with principal features.

    Args:
        noise: Of the watched layers, in order of steps.
        sketch: Theirs.
        rho: Compression rate.
        itemsize: Bytes of a number of X.

    Returns:
        None if a layer had no principal features, or its sketch has no closed form here.
    """
    noise = sorted(noise, key=lambda each: each.layer)
    if not noise or any(not each.principal or sketch not in each.variances for each in noise):
        return None
    layers = averaged(noise)
    variances = []
    for name, some in groupby(noise, key=lambda each: each.layer):
        alike = [each for each in some if each.rows == layers[name].rows]
        variances.append(statistics.fmean(each.variances[sketch] for each in alike))
    settings = SketchSettings(sketch, rho, bits=noise[0].bits, principal=noise[0].principal)
    return _kept(list(layers.values()), settings, variances, itemsize)


def _way(
    layers: Sequence[WatchedLayer], sketch: str, itemsize: int, rho: float, bits: int | None
) -> KeptNoise:
    settings = SketchSettings(sketch, rho, bits=bits)
    noise = []
    for each in layers:
        keeping = _keeping(settings, each)
        noise.append(layer_variance(each, sketch, keeping.proj_dim, keeping.bits))
    return _kept(layers, settings, noise, itemsize)


def _keeping(settings: SketchSettings, layer: WatchedLayer) -> Keeping:
    shape = torch.Size([layer.rows, layer.in_features])
    return settings.keeping(shape) or Keeping(layer.rows, "", None)


def _kept(
    layers: Sequence[WatchedLayer],
    settings: SketchSettings,
    variances: Iterable[float],
    itemsize: int,
) -> KeptNoise:
    assert settings.rho is not None
    sizes = [(each.rows, each.in_features, itemsize) for each in layers]
    kept = sum(
        _keeping(settings, each).size_bytes(*size) for each, size in zip(layers, sizes, strict=True)
    )
    return KeptNoise(
        sketch=settings.sketch if settings.rho < 1 else None,
        rho=settings.rho,
        bits=settings.bits,
        principal=settings.principal,
        bytes_ratio=kept / sum(map(math.prod, sizes)),
        layers=len(layers),
        samples=layers[0].samples,
        variance=math.fsum(variances),
        sgd=math.fsum(each.sgd_by_samples for each in layers),
        gradient=math.fsum(each.g for each in layers),
    )
