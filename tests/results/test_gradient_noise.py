"""What follows from the sums of one layer."""

import pytest

from rmmbench.results.gradient_noise import LayerNoise


def noise_of(x, y, **changes):
    """Return the noise of a layer with two rows of one feature each, of one sample or two."""
    products = [a * b for a, b in zip(x, y, strict=True)]
    a = sum(v * v for v in x) * sum(v * v for v in y)
    sums = {"a": a, "g": sum(products) ** 2, "d": sum(v * v for v in products)}
    sums |= {"g_samples": sums["d"], "variances": {"gaussian": 4.0}}
    of = {"step": 1, "layer": "layer", "rows": len(x), "samples": len(x), "proj_dim": 1}
    return LayerNoise(**(of | sums | changes))


def test_the_papers_forms():
    """Eq. 9, 11, 12 and 13 for rows that can be worked out by hand."""
    noise = noise_of((1.0, 2.0), (1.0, 0.0))
    assert (noise.a, noise.g, noise.d) == (5, 1, 1)
    assert noise.sgd_by_rows == 1  # (2 · 1 − 1) / 1
    assert noise.papers_variance == 4
    assert noise.alpha == pytest.approx(0.2)
    assert noise.ratio == 4
    assert noise.bound == pytest.approx(6)
    assert noise.holds


def test_where_the_bound_does_not_hold():
    """Rows of one product have no noise of SGD's but a sketch's: eq. 12 is false there."""
    noise = noise_of((1.0, 2.0), (1.0, 0.5))
    assert noise.sgd_by_rows == 0
    assert noise.papers_variance > 0
    assert noise.ratio is None
    assert not noise.holds


def test_nothing_on_both_sides_holds():
    """Rows that are all one row have no noise at all, up to rounding."""
    assert noise_of((1.0, 1.0), (1.0, 1.0)).holds
    assert noise_of((1.0, 1.0), (1.0, 1.0), a=4.0 + 1e-7).holds
    assert noise_of((1.0, 1.0), (0.0, 0.0)).holds
    assert noise_of((1.0,), (2.0,)).holds


def test_inflation_and_effective_batch_size():
    """Four times SGD's noise on top of it is the noise of a fifth of the samples."""
    noise = noise_of((1.0, 2.0), (1.0, 0.0), g_samples=1.0)
    assert noise.inflation("gaussian") == 5
    assert noise.effective_batch_size("gaussian") == pytest.approx(2 / 5)
    alone = noise.model_copy(update={"samples": 1})
    assert alone.inflation("gaussian") is None
    assert alone.effective_batch_size("gaussian") is None


def test_rounding_gives_no_negative_noise():
    """What cannot be below 0 is not, whatever rounding does to the sums."""
    assert noise_of((1.0, 1.0), (1.0, 1.0), d=2.0 - 1e-7).sgd_by_rows == 0
