"""The permutation is one, its pairs are uniform, and kernel and twin agree on it."""

import itertools
import math

import pytest
import torch

from rmmbench.kernels.permutation import permutation, permutation_twin


@pytest.mark.parametrize("rows", [*range(1, 20), 63, 64, 1000, 4099, 65536, 300_007])
def test_every_row_once(rows):
    """Whatever the number of rows, each has one place."""
    order = permutation(torch.tensor(rows), rows)
    assert order.dtype == torch.int32
    assert torch.equal(order.long().sort().values, torch.arange(rows))


def test_pairs_are_uniform():
    """Any two rows stand at any two places equally often, by a χ² test of each pair of places."""
    rows, draws = 6, 3000
    orders = torch.stack([permutation(torch.tensor(seed), rows) for seed in range(draws)])
    cells = rows * (rows - 1)
    # χ² of n cells has the mean n − 1 and the variance 2 (n − 1); of 15 pairs none is 5 above.
    bound = (cells - 1) + 5 * math.sqrt(2 * (cells - 1))
    for first, second in itertools.combinations(range(rows), 2):
        counts = (orders[:, first] * rows + orders[:, second]).bincount(minlength=rows**2)
        counts = counts[[a * rows + b for a, b in itertools.permutations(range(rows), 2)]]
        assert counts.sum() == draws
        expected = draws / cells
        assert ((counts - expected) ** 2 / expected).sum().item() <= bound


def test_seeds_name_permutations():
    """The same seed repeats a permutation; others are others."""
    orders = [tuple(permutation(torch.tensor(seed), 50).tolist()) for seed in (0, 0, 1, -1, 2**40)]
    assert orders[0] == orders[1]
    assert len(set(orders)) == 4


@pytest.mark.parametrize("rows", [1, 2, 3, 63, 512, 513, 1000, 3001])
@pytest.mark.parametrize("seed", [0, -(2**61)])
def test_kernel_equals_its_twin(device, rows, seed):
    """Kernel and twin put every row at the same place."""
    from rmmbench.kernels import _triton_permutation

    key = torch.tensor(seed)
    order = _triton_permutation.permutation(key.to(device), rows)
    assert order.dtype == torch.int32
    assert torch.equal(order.cpu(), permutation_twin(key, rows))


def test_no_rows(device):
    """Nothing is launched where there is nothing to do."""
    from rmmbench.kernels import _triton_permutation

    assert _triton_permutation.permutation(torch.tensor(1, device=device), 0).shape == (0,)
