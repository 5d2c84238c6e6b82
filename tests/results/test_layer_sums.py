"""Sums of a layer, and the noise of rounding between the sizes at which it was measured."""

import pytest

from rmmbench.results.layer_sums import LayerSums, product_of_sums


def sums(**changes):
    """Return the sums of a layer of many rows, with rounding that is 1/10 of the product."""
    of = {"rows": 101, "samples": 101, "a": 400.0, "g": 10.0, "d": 4.0, "g_samples": 4.0}
    sizes = [product_of_sums(m, 101, 400.0, 10.0, 4.0) for m in (1, 2, 3, 4, 8, 16)]
    rounding = {"4": tuple(size / 10 for size in sizes)}
    return LayerSums(**(of | {"rounding": rounding} | changes))


def test_product_of_sums_of_rows():
    """One row has its own product; of all rows only the pairs' cross terms are missing."""
    assert product_of_sums(1, 1, 4.0, 4.0, 4.0) == 4
    assert product_of_sums(101, 101, 400.0, 10.0, 4.0) == 400 + 2 * 10 - 2 * 4
    assert product_of_sums(2, 101, 400.0, 10.0, 4.0) == pytest.approx(4 + (400 + 20 - 12) / 100)


@pytest.mark.parametrize("summed", [1, 2, 3, 5, 16, 50, 101])
def test_a_constant_ratio_stays(summed):
    """What is proportional to the product at every measured size is so between and beyond them."""
    found = sums()
    expected = product_of_sums(summed, 101, 400.0, 10.0, 4.0) / 10
    assert found.rounding_noise(4, summed) == pytest.approx(expected)


def test_between_two_sizes_is_between_their_ratios():
    """From 4 to 8 rows, 6 has the share log(6/4)/log 2 of the way."""
    sizes = {m: product_of_sums(m, 101, 400.0, 10.0, 4.0) for m in (1, 2, 3, 4, 6, 8)}
    found = sums(rounding={"4": (0.0, 0.0, 0.0, sizes[4], 3 * sizes[8])})
    assert found.rounding_noise(4, 6) / sizes[6] == pytest.approx(1 + 2 * 0.5849625)
    assert found.rounding_noise(4, 32) == pytest.approx(
        3 * product_of_sums(32, 101, 400.0, 10.0, 4.0)
    )


def test_what_was_not_measured_is_refused():
    """The message names the bits there are."""
    with pytest.raises(ValueError, match="rounding to 8 bits was not measured, only: 4"):
        sums().rounding_noise(8, 1)
