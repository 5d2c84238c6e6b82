"""The noise that a way of keeping a layer's input adds to its weight gradient, in closed form."""

from functools import partial

from rmmbench import sketches
from rmmbench.results.layer_sums import LayerSums
from rmmbench.sketches.sketch import Moments, Sketch


def layer_variance(sums: LayerSums, sketch: str, proj_dim: int, bits: int | None) -> float:
    """Return E‖Ĝ − G‖²_F of sketch and rounding together; ÷ `sums.g` it is relative to ‖G‖².

    Rounding is independent of S and has the mean 0, so that its noise adds to that of S.

    Args:
        sums: Of the layer.
        sketch: A registered name, without settings.
        proj_dim: Rows that are kept; as many as `sums.rows`, or more, for no sketch.
        bits: Of a number that is kept, 8, 4 or 2; None where x_proj is not rounded.

    Raises:
        ValueError: If the sketch has no closed form from such sums, or rounding to so many bits was
            not measured.
    """
    if proj_dim >= sums.rows:
        return sums.rounding_noise(bits, 1) if bits else 0.0
    kind = sketches.get(sketch)
    if kind.text != kind.name or kind.has_factors:
        need = "sketch must be one whose noise follows from a layer's sums, without blocks"
        raise ValueError(f"{need}, got '{sketch}'")
    return noise_in_bits(kind, sums, _moments(sums), proj_dim, bits)


def noise_in_bits(
    sketch: Sketch, sums: LayerSums, moments: Moments, proj_dim: int, bits: int | None
) -> float:
    """Return the noise of a sketch in closed form from its moments, and of rounding x_proj."""
    noise = sketch.variance(moments, sums.rows, proj_dim)
    if bits is None:
        return noise
    rounding = partial(sums.rounding_noise, bits)
    return noise + sketch.rounding(rounding, moments, sums.rows, proj_dim)


def _moments(sums: LayerSums) -> Moments:
    if sums.sampled is None:
        raise ValueError("the sums of a layer must have `sampled`, which older records lack")
    own = (sums.a, sums.g, sums.d, sums.g_samples, sums.sampled)
    return Moments(*own, a_blocks=sums.a, g_blocks=sums.g)
