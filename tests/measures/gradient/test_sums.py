"""The sums over a layer's input and output gradient, against the plain formulas in float64."""

import pytest
import torch

from rmmbench.measures.gradient import sums as module
from rmmbench.measures.gradient.sums import GradientSums, gradient_sums
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


SHAPES = [(5, 7), (3, 1), (1, 9), (2, 3, 4), (4, 40), (11,)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cached", [0, 2**20])
@pytest.mark.parametrize("piece", [1, 2**24])
def test_are_the_plain_sums(shape, cached, piece, monkeypatch):
    """Whichever way the work is done, each sum is the plain one to four digits."""
    monkeypatch.setattr(module, "_CACHED_ELEMENTS", cached)
    monkeypatch.setattr(module, "_PIECE_ELEMENTS", piece)
    x, y = matrices(*shape)
    sums = GradientSums(*gradient_sums(x, y).tolist())
    moments = Moments.of(x.flatten(0, -2), y.flatten(0, -2))
    assert sums[:3] == pytest.approx(moments[:3], rel=1e-4)
    samples = [(x[i].view(-1, 24).double(), y[i].view(-1, 17).double()) for i in range(shape[0])]
    each = [(x_s.T @ y_s).square().sum().item() for x_s, y_s in samples]
    assert sums.g_samples == pytest.approx(sum(each), rel=1e-4)
    assert (sums.a_blocks, sums.g_blocks) == (sums.a, sums.g)


def test_blocks():
    """With blocks a and g are also given as the blocks' own, added up."""
    x, y = matrices(4, 6)
    sums = GradientSums(*gradient_sums(x, y, block_rows=8).tolist())
    in_blocks = Moments.of(x.flatten(0, 1), y.flatten(0, 1), 8)
    assert (sums.a_blocks, sums.g_blocks) == pytest.approx(in_blocks[:2], rel=1e-4)
    assert sums.a > sums.a_blocks


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_taken_up(dtype):
    """Half precision numbers are multiplied in float32, under autocast too."""
    x, y = matrices(5, 7, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradient_sums(x, y)
    assert found.tolist() == pytest.approx(gradient_sums(x.float(), y.float()).tolist(), rel=1e-6)


def test_float64_stays():
    """Sums of float64 are exact to its own precision."""
    x, y = matrices(5, 7, dtype=torch.float64)
    sums = gradient_sums(x, y).tolist()
    assert sums[:3] == pytest.approx(Moments.of(x.flatten(0, 1), y.flatten(0, 1))[:3], rel=1e-12)
