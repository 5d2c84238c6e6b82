"""The noise of many ways of keeping X, from the sums of the watched layers; none is drawn."""

import math
from collections.abc import Iterable, Sequence
from itertools import product

import torch

from rmmbench.nn.analysis.layer_variance import layer_variance
from rmmbench.nn.size import Keeping, SketchSettings
from rmmbench.results.kept_noise import KeptNoise
from rmmbench.results.layer_sums import BITS
from rmmbench.results.noise_file import WatchedLayer

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


def _way(
    layers: Sequence[WatchedLayer], sketch: str, itemsize: int, rho: float, bits: int | None
) -> KeptNoise:
    settings = SketchSettings(sketch, rho, bits=bits)
    kept, whole, noise = 0, 0, []
    for each in layers:
        shape = torch.Size([each.rows, each.in_features])
        keeping = settings.keeping(shape) or Keeping(each.rows, "", None)
        kept += keeping.size_bytes(each.rows, each.in_features, itemsize)
        whole += each.rows * each.in_features * itemsize
        noise.append(layer_variance(each, sketch, keeping.proj_dim, keeping.bits))
    return KeptNoise(
        sketch=sketch if rho < 1 else None,
        rho=rho,
        bits=bits,
        bytes_ratio=kept / whole,
        layers=len(layers),
        samples=layers[0].samples,
        variance=math.fsum(noise),
        sgd=math.fsum(each.sgd_by_samples for each in layers),
        gradient=math.fsum(each.g for each in layers),
    )
