"""What all sketches have in common, but for the law: names, blocks and moments."""

import pytest
import torch

from rmmbench import sketches
from rmmbench.sketches.sketch import Moments


@pytest.mark.parametrize("name", sketches.names())
def test_blocks_that_are_none(name):
    """A sketch either takes blocks, of a number that divides the rows, or refuses them."""
    kind = sketches.SKETCHES.get(name)
    if not kind.takes_block_rows:
        with pytest.raises(
            ValueError, match=f"sketch '{name}' takes no block_rows, got 8; leave it"
        ):
            sketches.get(name, 8)
        return
    with pytest.raises(ValueError, match="block_rows must be at least 1, got 0"):
        sketches.get(name, 0)
    message = (
        "block_rows must divide the rows, got 8 and 20 rows; choose one that divides batch × seq"
    )
    with pytest.raises(ValueError, match=message):
        sketches.get(name, 8).project(torch.zeros(20, 3), 4, 0)


def test_unknown_name():
    """An unknown sketch is named with the nearest and all others."""
    with pytest.raises(ValueError, match="no sketch named 'guassian'; did you mean 'gaussian'"):
        sketches.get("guassian")


def test_moments_are_sums_over_rows():
    """The moments a, g and d are what their names say, and with blocks a and g are each block's."""
    x, y = torch.randn(12, 6).double(), torch.randn(12, 5).double()
    d = sum(float(x[i] @ x[i] * (y[i] @ y[i])) for i in range(12))
    whole = (float(x.norm() ** 2 * y.norm() ** 2), float((x.T @ y).norm() ** 2), d)
    assert Moments.of(x, y)[:3] == pytest.approx(whole)
    parts = [Moments.of(x[i : i + 4], y[i : i + 4]) for i in (0, 4, 8)]
    assert Moments.of(x, y, 4)[:3] == pytest.approx([sum(p[i] for p in parts) for i in range(3)])
