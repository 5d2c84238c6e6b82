"""The step function nearest to a derivative: none is nearer, and it is the published one."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from torch import nn
from transformers.activations import QuickGELUActivation

from rmmbench.methods._piecewise import CELLS, FUNCTIONS, LIMIT, _partition, best_steps

BITS = [1, 2, 3, 4]

MODULES = {
    "gelu": nn.GELU(),
    "gelu-tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(),
    "quick-gelu": QuickGELUActivation(),
}

each_bits = pytest.mark.parametrize("bits", BITS)


def derivative(function, x):
    """Return f′ as autograd has it, at float64 places."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(MODULES[function](x).sum(), x)[0]


@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
def test_the_best_partition_is_found(pieces):
    """Of all ways to cut eight intervals into pieces none costs less."""
    costs = np.random.default_rng(pieces).random((9, 9))
    costs[np.tril_indices(9)] = np.inf
    ways = [[0, *inner, 8] for inner in combinations(range(1, 8), pieces - 1)]
    totals = [sum(costs[a, b] for a, b in pairwise(way)) for way in ways]
    ends, cost = _partition(costs, pieces)
    assert ends == ways[int(np.argmin(totals))]
    assert cost == pytest.approx(min(totals))


@pytest.mark.parametrize("function", FUNCTIONS)
@each_bits
def test_levels_are_means_and_the_error_is_theirs(function, bits):
    """Each level is the mean of f′ over its piece, and the error the integral that is told."""
    steps, fine = best_steps(function, bits), 16
    count = 2 * LIMIT * CELLS * fine
    x = (torch.arange(count, dtype=torch.float64) + 0.5) / (CELLS * fine) - LIMIT
    exact = derivative(function, x)
    ends = [(edge + LIMIT * CELLS) * fine for edge in (-LIMIT * CELLS, *steps.edges)] + [count]
    pieces = exact.split([b - a for a, b in pairwise(ends)])
    assert len(pieces) == len(steps.levels) == 2**bits
    means = torch.stack([piece.mean() for piece in pieces])
    torch.testing.assert_close(means, torch.tensor(steps.levels).double(), rtol=0, atol=1e-6)
    error = sum((piece - piece.mean()).square().sum() for piece in pieces) / (CELLS * fine)
    # Midpoints are off by about a 24th of their distance squared, a 10⁷th.
    assert steps.error == pytest.approx(float(error), abs=1e-6)


@pytest.mark.parametrize(
    ("function", "errors"),
    [("gelu", (0.1410, 0.0406, 0.0119, 0.0031)), ("silu", (0.2150, 0.0479, 0.0170, 0.0045))],
)
def test_errors_are_the_published_ones(function, errors):
    """They are those of the paper's table, to its four digits, and each bit makes them smaller."""
    found = [best_steps(function, bits).error for bits in BITS]
    assert found == pytest.approx(errors, abs=0.00005)
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("function", ["gelu", "silu"])
def test_the_grid_is_fine_enough(function):
    """With twice as many cells the error is less than a hundredth smaller."""
    coarse, fine = (best_steps(function, 4, cells).error for cells in (CELLS // 2, CELLS))
    assert 0.99 * coarse < fine <= coarse
