"""The sums over a layer's input and output gradient, against the plain formulas in float64."""

import pytest
import torch

from rmmbench.sketches import _sums
from rmmbench.sketches._sums import moment_sums
from rmmbench.sketches.sketch import Moments


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


def matrices(*shape, features=24, outputs=17, dtype=torch.float32):
    """Return X and Y that have something in common, as those of a training step do."""
    torch.manual_seed(0)
    x = torch.randn(*shape, features) + torch.randn(features)
    y = 1e-3 * (torch.randn(*shape, outputs) + 0.2 * x[..., :outputs])
    return x.to(dtype), y.to(dtype)


def plain(x, y, block_rows=None):
    """Return the moments by their plain formulas, in float64."""
    parts = [(x[i].view(-1, x.shape[-1]), y[i].view(-1, y.shape[-1])) for i in range(len(x))]
    x, y = (matrix.flatten(0, -2).double() for matrix in (x, y))
    x_norms, y_norms = x.norm(dim=1), y.norm(dim=1)
    size = block_rows or len(x)
    blocks = [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
    sums = [
        x.square().sum() * y.square().sum(),
        (x.T @ y).square().sum(),
        (x_norms * y_norms).square().sum(),
        sum((x_s.double().T @ y_s.double()).square().sum() for x_s, y_s in parts),
        x_norms.sum() * (x_norms * y_norms.square()).sum(),
        sum(x_b.square().sum() * y_b.square().sum() for x_b, y_b in blocks),
        sum((x_b.T @ y_b).square().sum() for x_b, y_b in blocks),
    ]
    return [float(each) for each in sums]


SHAPES = [(5, 7), (3, 1), (1, 9), (2, 3, 4), (4, 40), (11,)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cached", [0, 2**20])
@pytest.mark.parametrize("piece", [1, 2**24])
def test_are_the_plain_sums(shape, cached, piece, monkeypatch):
    """Whichever way the work is done, each sum is the plain one to four digits."""
    monkeypatch.setattr(_sums, "_CACHED_ELEMENTS", cached)
    monkeypatch.setattr(_sums, "_PIECE_ELEMENTS", piece)
    x, y = matrices(*shape)
    assert Moments.of(x, y)[:7] == pytest.approx(plain(x, y), rel=1e-4)


def test_blocks():
    """With blocks a and g are also given as the blocks' own, added up."""
    x, y = matrices(4, 6)
    moments = Moments.of(x, y, block_rows=8)
    assert moments[:7] == pytest.approx(plain(x, y, 8), rel=1e-4)
    assert moments.a > moments.a_blocks
    assert moments.in_blocks()[:2] == (moments.a_blocks, moments.g_blocks)
    assert moments.in_one()[5:7] == (moments.a, moments.g)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_taken_up(dtype):
    """Half precision numbers are multiplied in float32, under autocast too."""
    x, y = matrices(5, 7, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = moment_sums(x, y)
    assert found.tolist() == pytest.approx(moment_sums(x.float(), y.float()).tolist(), rel=1e-6)


def test_float64_stays():
    """Sums of float64 are exact to its own precision."""
    x, y = matrices(5, 7, dtype=torch.float64)
    assert moment_sums(x, y).tolist() == pytest.approx(plain(x, y), rel=1e-12)
