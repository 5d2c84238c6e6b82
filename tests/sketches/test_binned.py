"""What is peculiar to the sketches that add up rows in bins."""

import math

import pytest
import torch

from rmmbench import sketches

both = pytest.mark.parametrize("name", ["countsketch", "oporp"])


def explicit(name, rows, proj_dim, seed=3):
    """Return Sᵀ."""
    return sketches.get(name).project(torch.eye(rows, dtype=torch.float64), proj_dim, seed)


@both
@pytest.mark.parametrize(("rows", "proj_dim"), [(1, 1), (7, 7), (63, 10), (1000, 333), (1009, 4)])
def test_every_row_is_in_one_bin(name, rows, proj_dim):
    """Each row of X goes into exactly one bin, with a sign and no scale."""
    s = explicit(name, rows, proj_dim)
    assert bool((s.count_nonzero(0) == 1).all())
    assert bool((s.abs().sum(0) == 1).all())


@pytest.mark.parametrize(("rows", "proj_dim"), [(1, 1), (7, 7), (63, 10), (1000, 333), (1009, 4)])
def test_oporp_bins_are_balanced(rows, proj_dim):
    """The bins' sizes differ by one at most, whatever the numbers are."""
    sizes = explicit("oporp", rows, proj_dim).count_nonzero(1)
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() >= 1


def test_oporp_loses_nothing_at_one_row_a_bin():
    """At ρ = 1 each row is alone: S is a signed permutation, and the error is 0."""
    s = explicit("oporp", 63, 63)
    assert torch.equal(s @ s.T, torch.eye(63, dtype=torch.float64))
    sketch, x = sketches.get("oporp"), torch.randn(63, 2)
    assert sketch.variance(sketch.moments(x, x), 63, 63) == 0


def test_countsketch_bins_are_independent():
    """How many rows a bin holds is binomial: its variance is B·(1 − 1/k)/k."""
    rows, proj_dim, draws = 100, 5, 300
    sizes = torch.stack([explicit("countsketch", rows, proj_dim, i) for i in range(draws)])
    counts = sizes.count_nonzero(2).double()
    expected = rows * (1 - 1 / proj_dim) / proj_dim
    # Near enough to normal: the standard error of a variance from n numbers is σ²·(2/n)^½; of
    # these, k a draw, k − 1 are free.
    error = 4 * expected * math.sqrt(2 / (draws * (proj_dim - 1)))
    assert counts.var().item() == pytest.approx(expected, abs=error)


@both
def test_work(name):
    """One addition for each element of X, whatever proj_dim is: S has one entry a row."""
    rows, features, proj_dim = 63, 5, 10
    additions = int(explicit(name, rows, proj_dim).count_nonzero()) * features
    assert sketches.get(name).flops(rows, features, proj_dim) == additions


def test_oporp_error_against_gaussian():
    """At ρ = 0.5 oporp's root mean squared error is at most 0.72 times Gaussian's.

    The closed forms' ratio is below (B / 2(B − 1))^½, 0.713 for these 64 rows. It is measured to
    four standard errors: each mean square of n draws has s/n^½, and a ratio's logarithm half of
    both, added in quadrature.
    """
    rows, proj_dim, draws = 64, 32, 500
    generator = torch.Generator().manual_seed(1)
    both = torch.randn(rows, 44, generator=generator, dtype=torch.float64)
    x, y = both.split([24, 20], dim=1)
    means, relative = {}, {}
    for name in ("oporp", "gaussian"):
        sketch, squares = sketches.get(name), []
        for seed in range(draws):
            x_proj, y_proj = sketch.project(both, proj_dim, seed).split([24, 20], dim=1)
            squares.append((y_proj.T @ x_proj - y.T @ x).square().sum())
        found = torch.stack(squares)
        means[name] = found.mean().item()
        relative[name] = found.std().item() / draws**0.5 / means[name]
    ratio = math.sqrt(means["oporp"] / means["gaussian"])
    assert ratio * (1 + 4 * math.hypot(*relative.values()) / 2) <= 0.72


@pytest.mark.parametrize("rows", [30, 64, 1000])
def test_oporp_is_below_gaussian_for_every_matrix(rows):
    """By the closed forms the ratio is at most (B / 2(B − 1))^½, whatever X and Y are."""
    oporp, gaussian = sketches.get("oporp"), sketches.get("gaussian")
    generator = torch.Generator().manual_seed(rows)
    x, noise = torch.randn(2, rows, 3, generator=generator).double()
    for y in (noise, x, torch.ones_like(x), x.abs() ** 4):
        moments = oporp.moments(x, y)
        ratio = oporp.variance(moments, rows, rows // 2) / gaussian.variance(
            moments, rows, rows // 2
        )
        assert ratio <= rows / (2 * (rows - 1)) + 1e-12
