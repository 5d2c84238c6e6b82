"""What is peculiar to groups that lose their signed mean."""

import pytest
import torch

from rmmbench import sketches
from rmmbench.kernels.rounding import rounding_variance

each_size = pytest.mark.parametrize(
    ("rows", "proj_dim"), [(3, 2), (10, 8), (63, 40), (64, 33), (1000, 901), (1009, 1008)]
)


def explicit(rows, proj_dim):
    """Return Sᵀ."""
    return sketches.get("householder").project(torch.eye(rows, dtype=torch.float64), proj_dim, 3)


@each_size
def test_each_group_loses_one_direction(rows, proj_dim):
    """S Sᵀ has ones on its diagonal, and ∓1 / (m − 1) between rows of a group of m."""
    gram = explicit(rows, proj_dim).T @ explicit(rows, proj_dim)
    torch.testing.assert_close(gram.diagonal(), torch.ones(rows, dtype=torch.float64))
    sizes = 1 + (gram.fill_diagonal_(0).abs() > 1e-9).sum(1)
    assert sizes.max() - sizes.min() <= 1
    assert (1 / sizes).sum().item() == pytest.approx(rows - proj_dim)
    torch.testing.assert_close(gram.abs().sum(1), torch.ones(rows, dtype=torch.float64))


@pytest.mark.parametrize(("rows", "proj_dim"), [(1, 1), (7, 7), (64, 32), (63, 10)])
def test_it_is_oporp_up_to_half_of_the_rows(rows, proj_dim):
    """And with all of them, when each row is alone."""
    x = torch.randn(rows, 5)
    oporp = sketches.get("oporp").project(x, proj_dim, 3)
    assert torch.equal(sketches.get("householder").project(x, proj_dim, 3), oporp)


@pytest.mark.parametrize("rows", [3, 63, 1000])
def test_it_is_never_worse_than_oporp(rows):
    """Above half of the rows its variance is less, and near all of them it is half."""
    x, y = torch.randn(2, rows, 4).double()
    ratios = []
    for proj_dim in range(rows // 2 + 1, rows):
        ours, theirs = (
            sketches.get(name).variance(sketches.get(name).moments(x, y), rows, proj_dim)
            for name in ("householder", "oporp")
        )
        ratios.append(ours / theirs)
    assert max(ratios) <= 1 + 1e-12
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[-1] == pytest.approx(rows / (rows - 1) / 2)


@each_size
def test_project_and_sum_sums_every_row(rows, proj_dim):
    """The bias gradient is the plain sum, whatever the groups lose."""
    y, seed = torch.randn(rows, 5), torch.tensor(3)
    projected, total = sketches.get("householder").project_and_sum(y, proj_dim, seed)
    torch.testing.assert_close(total, y.sum(0))
    assert torch.equal(projected, sketches.get("householder").project(y, proj_dim, seed))


@pytest.mark.parametrize("rho", [0.55, 0.667, 0.8, 0.95])
@pytest.mark.parametrize("kind", ["normal", "ReLU"])
def test_noise_of_rounding_is_near_its_form(rho, kind):
    """From the noise of pairs, it is that of what is kept within a fifth."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(600, 64, generator=generator)
    x, y = x.relu() if kind == "ReLU" else x, torch.randn(600, 8, generator=generator)
    pairs = [sketches.get("oporp").project(matrix, 300, 4) for matrix in (x, y)]
    noises = {2: rounding_variance(*pairs, 2)}
    sketch, proj_dim = sketches.get("householder"), round(600 * rho)
    found = rounding_variance(sketch.project(x, proj_dim, 5), sketch.project(y, proj_dim, 5), 2)
    expected = sketch.rounding(noises.__getitem__, sketch.moments(x, y), 600, proj_dim)
    assert found == pytest.approx(expected, rel=0.2)
