"""Numbers in few bits: unbiased, with the closed form's variance, in as many bytes as stated."""

import math

import pytest
import torch

from rmmbench.kernels import rounding
from rmmbench.kernels.levels import BITS, row_bytes

DRAWS = 500
SHAPES = [(37, 64), (5, 1), (20, 100)]


def _matrix(rows: int, width: int) -> torch.Tensor:
    torch.manual_seed(rows)
    return 3 * torch.randn(rows, width) + 5 * torch.randn(rows, 1)


def _restored(x: torch.Tensor, bits: int, seed: int) -> torch.Tensor:
    kept = rounding.round_to_bits(x, bits, torch.tensor(seed))
    return rounding.restored(*kept, x.shape[1], bits, x.dtype)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rounding_is_unbiased_with_the_stated_variance(shape, bits):
    """The mean of roundings is the matrix, and their squared error is the closed form's."""
    x = _matrix(*shape)
    y = torch.randn(shape[0], 5)
    total, errors = torch.zeros_like(x), []
    for seed in range(DRAWS):
        off_by = _restored(x, bits, seed) - x
        total += off_by
        errors.append(float((y.T @ off_by).square().sum()))
    steps = rounding.round_to_bits(x, bits, torch.tensor(0))[1][..., 1].float()
    # An error has at most half a step of standard deviation; 5.5 of them for any of a few thousand.
    bound = 5.5 * steps.repeat_interleave(64, 1)[:, : shape[1]] / 2 / math.sqrt(DRAWS)
    assert ((total / DRAWS).abs() <= bound + 2.0**-16 * steps.max()).all()
    measured = torch.tensor(errors, dtype=torch.float64)
    spread = float(measured.std()) / math.sqrt(DRAWS)
    assert abs(float(measured.mean()) - rounding.rounding_variance(x, y, bits)) <= 4 * spread


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_takes_the_stated_bytes(shape, bits):
    """Levels and ends together take what `row_bytes` says."""
    levels, ends = rounding.round_to_bits(_matrix(*shape), bits, torch.tensor(0))
    assert levels.nbytes + ends.nbytes == shape[0] * row_bytes(shape[1], bits)


@pytest.mark.parametrize("bits", BITS)
def test_the_product_is_that_of_the_restored_matrix(bits):
    """Piece by piece it is what the whole matrix gives."""
    x, y = _matrix(9000, 100), torch.randn(9000, 7)
    levels, ends = rounding.round_to_bits(x, bits, torch.tensor(3))
    whole = y.T @ rounding.restored(levels, ends, 100, bits, x.dtype)
    torch.testing.assert_close(
        rounding.product(y, levels, ends, 100, bits), whole, rtol=1e-4, atol=1e-2
    )


@pytest.mark.parametrize("value", [0.0, -3.7, 1e-30, 1e30])
def test_equal_numbers_stay_near(value):
    """A group of one number comes back within what bfloat16 can say of it, and 0 as 0."""
    x = torch.full((4, 80), value)
    torch.testing.assert_close(_restored(x, 2, 0), x, rtol=2.0**-7, atol=1e-37)


def test_a_number_that_is_none_is_seen():
    """Not a number makes its group not numbers, so a diverged step shows."""
    x = _matrix(3, 128)
    x[1, 5] = math.nan
    assert _restored(x, 4, 0).isnan().any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes_come_back_in_their_own(dtype):
    """Every floating-point dtype is taken, and nothing is off by more than a step."""
    x = _matrix(8, 96).to(dtype)
    kept = rounding.round_to_bits(x, 8, torch.tensor(1))
    back = rounding.restored(*kept, 96, 8, dtype)
    assert back.dtype == dtype
    assert (back - x).abs().max() <= 1.1 * kept[1][..., 1].max() + 0.01 * x.abs().max()
