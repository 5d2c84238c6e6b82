"""Numbers in few bits: their mean, their distance, and what comes back as it was."""

import pytest
import torch

from rmmbench.methods import _quantised
from rmmbench.methods._quantised import product, quantise, restore

pytestmark = pytest.mark.usefixtures("one_thread")

each_bits = pytest.mark.parametrize("bits", [2, 4, 8])
each_end = pytest.mark.parametrize("ends", [torch.float32, torch.bfloat16], ids=str)


def generator(seed=0):
    """Return a generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def rounded(x, bits, ends=torch.float32, seed=0):
    """Return a matrix as it comes back."""
    out = torch.empty_like(x)
    restore(quantise(x, bits, torch.tensor(seed), ends), bits, out)
    return out


def steps(x, bits, ends):
    """Return how far apart the levels of each row may be."""
    low, high = x.float().amin(1, keepdim=True), x.float().amax(1, keepdim=True)
    wider = 0.0 if ends == torch.float32 else 0.0125 * (low.abs() + high.abs())
    return 1.0001 * (high - low + wider) / (2**bits - 1)


@each_bits
@each_end
@pytest.mark.parametrize("width", [1, 3, 26])
def test_a_number_keeps_its_mean(bits, ends, width):
    """Over many draws each number's mean is what it was, within 4.5 standard errors."""
    draws = 3000
    x = torch.randn(1, width, generator=generator(3)) * 5 + 2
    found = rounded(x.expand(draws, width).contiguous(), bits, ends)
    # A number between two levels has at most this standard deviation.
    error = float(steps(x, bits, ends)) / 2 / draws**0.5
    assert ((found.mean(0) - x[0]).abs() < 4.5 * error + 1e-5).all()


@each_bits
@each_end
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-30, 0.0), (1e-3, 3.0), (1e4, -50.0)])
def test_a_number_goes_to_a_level_beside_it(bits, ends, dtype, scale, offset):
    """No number moves by more than a step, but for rounding in its own dtype."""
    x = (torch.randn(63, 25, generator=generator(4)) * scale + offset).to(dtype)
    slack = x.abs().amax().float() * torch.finfo(dtype).eps
    moved = (rounded(x, bits, ends) - x).float().abs()
    assert (moved <= steps(x, bits, ends) + slack).all()


@each_bits
def test_two_values_come_back_as_they_were(bits):
    """A mask of dropout or attention, or a constant, is restored to the bit in every draw."""
    mask = torch.rand(200, 64, generator=generator(5)) < 0.9
    mask[0], mask[1] = True, False
    values = torch.randn(2, 200, 1, generator=generator(6)) * 7
    values[:, 2:5, 0] = torch.tensor([[0, 0.0, torch.finfo().min], [1 / 0.9, 1e-30, 0]])
    x = torch.where(mask, values[1], values[0])
    assert torch.equal(rounded(x, bits), x)


@each_bits
@each_end
def test_a_row_of_zeros_stays_one(bits, ends):
    """A row that ReLU or dropout emptied is restored as it was."""
    assert not rounded(torch.zeros(3, 10), bits, ends).any()


@each_bits
@each_end
def test_what_is_not_finite_is_seen(bits, ends):
    """A row with NaN or ∞ has NaN, and no other row."""
    x = torch.randn(4, 10, generator=generator(6))
    x[0, 4], x[1, 2] = float("inf"), float("nan")
    found = rounded(x, bits, ends)
    assert found[:2].isnan().any(1).all()
    assert found[2:].isfinite().all()


@each_bits
def test_minus_infinity_comes_back_as_the_lowest_number(bits):
    """A mask of attention, added before softmax, hides what it hid."""
    x = torch.tensor([[0.0, float("-inf")]]).repeat(3, 5)
    assert torch.equal(rounded(x, bits), x.clamp_min(torch.finfo().min))


@each_bits
@each_end
def test_pieces_are_rounded_apart_and_multiplied_alike(bits, ends, monkeypatch):
    """In small pieces equal rows are rounded differently, and the product is the whole matrix's."""
    monkeypatch.setattr(_quantised, "_PIECE_ELEMENTS", 2 * 63)
    x = torch.randn(1, 63, generator=generator(7)).expand(15, 63).contiguous()
    kept, found = quantise(x, bits, torch.tensor(0), ends), rounded(x, bits, ends)
    assert len(found.unique(dim=0)) == 15
    assert ((found - x).abs() <= steps(x, bits, ends)).all()
    y = torch.randn(15, 4)
    torch.testing.assert_close(product(y, kept, 63, bits), y.T @ found)


@each_bits
@each_end
def test_a_seed_is_its_numbers(bits, ends):
    """One seed rounds alike, another otherwise."""
    x = torch.randn(63, 26, generator=generator(8))
    assert torch.equal(rounded(x, bits, ends, 1), rounded(x, bits, ends, 1))
    assert not torch.equal(rounded(x, bits, ends, 1), rounded(x, bits, ends, 2))
