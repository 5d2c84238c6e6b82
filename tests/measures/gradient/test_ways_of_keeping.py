"""Many ways of keeping X, from the sums of layers."""

import pytest
import torch

from rmmbench.measures.gradient.ways_of_keeping import ways_of_keeping
from rmmbench.nn.analysis.layer_variance import layer_variance
from rmmbench.results.noise_file import WatchedLayer


def layer(**changes):
    """Return the sums of a layer of 100 rows and 128 features."""
    sums = {"a": 400.0, "g": 10.0, "d": 4.0, "g_samples": 8.0, "sampled": 300.0}
    sums["rounding"] = {"8": (0.1,) * 6, "4": (1.0,) * 6, "2": (9.0,) * 6}
    of = {"rows": 100, "samples": 10, "steps": 3, "in_features": 128, "out_features": 16}
    return WatchedLayer(**(of | sums | changes))


def test_every_size_and_every_number_of_bits():
    """Noise, signal and bytes add up over the layers; every row in all its bits is no way."""
    layers = [layer(), layer(in_features=64, a=800.0)]
    ways = ways_of_keeping(layers, "oporp", 4, [0.5])
    assert {(way.rho, way.bits) for way in ways} == {
        *((1.0, bits) for bits in (8, 4, 2)),
        *((0.5, bits) for bits in (None, 8, 4, 2)),
    }
    (found,) = [way for way in ways if (way.rho, way.bits) == (0.5, 4)]
    expected = sum(layer_variance(one, "oporp", 50, 4) for one in layers)
    assert found.variance == pytest.approx(expected)
    assert (found.gradient, found.samples, found.layers) == (20.0, 10, 2)
    assert found.sgd == pytest.approx(2 * (10 * 8 - 10) / 9)
    rows = 50 * (128 // 2 + 8 + 64 // 2 + 4) + 2 * 8
    assert found.bytes_ratio == pytest.approx(rows / (100 * (128 + 64) * 4))
    (whole,) = [way for way in ways if (way.rho, way.bits) == (1.0, 2)]
    assert (whole.sketch, whole.variance) == (None, 18.0)


def test_bytes_are_of_the_dtype():
    """In bfloat16 four bits are a quarter, and the ends of groups count."""
    ways = ways_of_keeping([layer()], "gaussian", torch.bfloat16.itemsize)
    (found,) = [way for way in ways if (way.rho, way.bits) == (1.0, 4)]
    assert found.bytes_ratio == pytest.approx((64 + 8) / 256, rel=0.01)


def test_no_layer_is_refused():
    """Nothing was watched, so nothing can be told."""
    with pytest.raises(ValueError, match="got none"):
        ways_of_keeping([], "oporp", 4)
