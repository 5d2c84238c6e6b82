"""What is peculiar to the tensor-product sketch over batch × sequence."""

import itertools
import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from rmmbench import sketches
from rmmbench.sketches import kronecker


def explicit(batch, sequence, proj_dim, seed=3):
    """Return Sᵀ."""
    eye = torch.eye(batch * sequence, dtype=torch.float64)
    return sketches.get("kronecker", block_rows=sequence).project(eye, proj_dim, seed)


@pytest.mark.parametrize(
    ("batch", "sequence", "k1", "k2"), [(4, 6, 2, 3), (1, 12, 1, 5), (12, 1, 7, 1), (5, 9, 5, 9)]
)
def test_s_is_a_tensor_product(batch, sequence, k1, k2):
    """S is a k₁ × batch times a k₂ × sequence matrix of signs, all entries ±B_proj^−½."""
    s = explicit(batch, sequence, k1 * k2)
    torch.testing.assert_close(s.abs(), torch.full_like(s, (k1 * k2) ** -0.5))
    grid = s.sign().view(k1, k2, batch, sequence)
    s1, s2 = grid[:, :1, :, :1], grid[:1, :, :1, :]
    assert torch.equal(grid, s1 * s2 * grid[0, 0, 0, 0])


def test_factors_are_independent():
    """S₁ and S₂ share no entries, even where they have the same size."""
    products = []
    for seed in range(200):
        grid = explicit(6, 6, 36, seed).view(6, 6, 6, 6)
        s1, s2 = grid[:, 0, :, 0].sign(), grid[0, :, 0, :].sign()
        products.append((s1 * s2 * grid[0, 0, 0, 0].sign())[1:, 1:])
    # Signs of mean 0, were they drawn apart; all of one sign, were they the same.
    assert torch.stack(products).mean().abs().item() <= 5 / math.sqrt(200 * 25)


def test_long_axes_are_drawn_in_pieces(monkeypatch):
    """S is the same, however few of its entries are held at a time."""
    x = torch.randn(3000, 4, dtype=torch.float64)
    for sequence in (1, 100, 3000):
        sketch = sketches.get("kronecker", block_rows=sequence)
        proj_dim = sketch.size_from(3000, 700)
        whole = sketch.project(x, proj_dim, 1)
        with monkeypatch.context() as patch:
            patch.setattr(kronecker, "_PIECE_ELEMENTS", 128 * 70)
            torch.testing.assert_close(sketch.project(x, proj_dim, 1), whole)


def brute_force(x, y):
    """Return T₁, T₂ and T₁₂, of x and y of shape (batch, sequence, features), pair by pair.

    The error is Σ (A_bc C_st − 1[b = c, s = t]) x_bs y_ctᵀ over all pairs of rows (b, s) and
    (c, t). Its mean square is a sum over pairs of pairs; A and C are independent, A_bb = 1, and
    E[A_bc A_de] for b ≠ c is 1/k₁ if {d, e} = {b, c} and 0 else; C likewise.
    """
    places = list(itertools.product(range(x.shape[0]), range(x.shape[1])))
    totals = {(True, False): 0.0, (False, True): 0.0, (True, True): 0.0}
    pairs = list(itertools.product(places, places))
    for ((b, s), (c, t)), ((d, r), (e, u)) in itertools.product(pairs, pairs):
        meet = {b, c} == {d, e} if b != c else d == e
        meet &= {s, t} == {r, u} if s != t else r == u
        kind = (b != c, s != t)
        if meet and kind in totals:
            totals[kind] += float((x[b, s] @ x[d, r]) * (y[c, t] @ y[e, u]))
    return totals[True, False], totals[False, True], totals[True, True]


@pytest.mark.parametrize(("batch", "sequence"), [(2, 3), (3, 2), (1, 4), (4, 1), (3, 3)])
def test_moments_are_the_sums_over_pairs(batch, sequence):
    """T₁, T₂ and T₁₂ are what a sum over all pairs of pairs of rows gives."""
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, sequence, 3, generator=generator, dtype=torch.float64) + 0.5
    y = torch.randn(batch, sequence, 2, generator=generator, dtype=torch.float64) - 0.5
    found = sketches.get("kronecker", block_rows=sequence).moments(x.flatten(0, 1), y.flatten(0, 1))
    assert found.factors == pytest.approx(brute_force(x, y), abs=1e-9)


def test_one_sequence_has_rademachers_variance():
    """With one sequence S is a matrix of independent signs, and so is the closed form."""
    x, y = torch.randn(20, 3), torch.randn(20, 2)
    one, signs = sketches.get("kronecker", block_rows=20), sketches.get("rademacher")
    found = one.variance(one.moments(x, y), 20, 5)
    assert found == pytest.approx(signs.variance(signs.moments(x, y), 20, 5))


@pytest.mark.parametrize(
    ("batch", "sequence", "wanted"), [(8, 128, 100), (32, 128, 410), (1, 512, 256), (16, 7, 11)]
)
def test_size_is_little_more_than_wanted(batch, sequence, wanted):
    """The size is at most a tenth above what is wanted, or two, and the rates are within two."""
    sketch = sketches.get("kronecker", block_rows=sequence)
    found = sketch.size_from(batch * sequence, wanted)
    assert wanted <= found <= max(1.1 * wanted, wanted + 2)
    k1, k2 = sketch._factors(batch * sequence, found)
    assert k1 * k2 == found
    assert 0.5 <= (k1 / batch) / (k2 / sequence) <= 2


def test_work():
    """Both products, as torch counts them: S₂ᵀ along the sequence, then S₁ᵀ along the batch."""
    sketch, x = sketches.get("kronecker", block_rows=16), torch.randn(8 * 16, 6)
    proj_dim = sketch.size_from(128, 32)
    with FlopCounterMode(display=False) as counter:
        sketch.project(x, proj_dim, 1)
    assert sketch.flops(128, 6, proj_dim) == counter.get_total_flops()
    assert sketch.flops(128, 6, proj_dim) < sketches.get("rademacher").flops(128, 6, proj_dim)


def test_rows_that_are_no_grid():
    """Without block_rows rows have no batch and sequence, which is told with both ways out."""
    message = (
        "sketch 'kronecker' needs block_rows, which says how 12 rows are batch × sequence; "
        r"give it, or an input of shape \(batch, sequence, features\)"
    )
    with pytest.raises(ValueError, match=message):
        sketches.get("kronecker").project(torch.zeros(12, 3), 4, 0)


def test_size_that_is_no_product():
    """A size that is no k₁·k₂ within the grid is refused, with the next one that is."""
    message = "sketch 'kronecker' has no proj_dim of 7 = k1 · k2 for 3 × 4 rows; try 8"
    with pytest.raises(ValueError, match=message):
        sketches.get("kronecker", block_rows=4).project(torch.zeros(12, 3), 7, 0)
