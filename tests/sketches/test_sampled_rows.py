"""What is peculiar to the sketches that keep some of the rows themselves."""

import pytest
import torch

from rmmbench import sketches
from rmmbench.kernels import philox


def key_for(x, proj_dim, seed=3):
    """Return which rows norm-rows draws, and their scales."""
    picked, scales = sketches.get("norm-rows").draw(x, proj_dim, torch.tensor(seed))
    return picked.long(), scales


@pytest.mark.parametrize(("rows", "proj_dim"), [(1, 1), (7, 3), (63, 63), (1000, 333)])
def test_rows_are_taken_without_replacement(rows, proj_dim):
    """Sᵀ picks proj_dim different rows, each scaled by (B / B_proj)^½."""
    s = sketches.get("rows").project(torch.eye(rows, dtype=torch.float64), proj_dim, 3)
    scale = torch.tensor((rows / proj_dim) ** 0.5, dtype=torch.float64)
    assert bool((s.count_nonzero(1) == 1).all())
    assert int(s.count_nonzero(0).max()) == 1
    torch.testing.assert_close(s.sum(1), scale.expand(proj_dim))


def test_rows_add_the_noise_that_the_batch_has():
    """The closed form is (1 − ρ)/ρ times the variance of the batch's own gradient, eq. 9."""
    rows = 40
    x, y = torch.randn(rows, 3, dtype=torch.float64), torch.randn(rows, 2, dtype=torch.float64)
    per_row = torch.einsum("bm,bn->bmn", y, x)
    deviations = per_row - per_row.mean(0)
    of_the_batch = rows * deviations.square().sum() / (rows - 1)
    sketch = sketches.get("rows")
    found = sketch.variance(sketch.moments(x, y), rows, 10)
    assert found == pytest.approx(3 * of_the_batch.item())


def test_norm_rows_prefers_large_rows():
    """A row is drawn in proportion to its norm, within 5 standard errors, and scaled by p^−½."""
    norms = torch.tensor([1.0, 2.0, 3.0, 4.0])
    x, proj_dim = torch.diag(norms), 4
    draws = [key_for(x, proj_dim, seed) for seed in range(500)]
    picked, scales = torch.cat([p for p, _ in draws]), torch.cat([s for _, s in draws])
    p = norms / norms.sum()
    counts = picked.bincount(minlength=4) / len(picked)
    assert bool(((counts - p).abs() <= 5 * (p * (1 - p) / len(picked)).sqrt()).all())
    torch.testing.assert_close(scales, (proj_dim * p[picked]).rsqrt().double())


def test_norm_rows_of_zeros():
    """Where all rows are 0 the key is one of real rows and finite scales."""
    x = torch.zeros(20, 3)
    picked, scales = key_for(x, 5)
    assert bool(((picked >= 0) & (picked < 20)).all())
    assert bool(scales.isfinite().all())
    assert torch.equal(sketches.get("norm-rows").project(x, 5, 3), torch.zeros(5, 3))


@pytest.mark.parametrize("place", [0, 7, 19])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_norm_rows_of_one_row(place, dtype):
    """A row that alone is not 0 is drawn always, and nothing of it is lost."""
    x = torch.zeros(20, 3, dtype=dtype)
    x[place] = torch.tensor([1.0, -2.0, 0.5])
    picked, _ = key_for(x, 4)
    assert picked.tolist() == [place] * 4
    y = torch.randn(20, 2).to(dtype)
    sketch = sketches.get("norm-rows")
    key = sketch.draw(x, 4, torch.tensor(3))
    estimate = sketch.project(y, 4, key).T @ sketch.project(x, 4, key)
    torch.testing.assert_close(estimate, y.T @ x)


def test_norm_rows_never_draws_a_row_of_zeros():
    """Rows of 0 at either end and between are not drawn: their scale would be infinite."""
    x = torch.randn(100, 3)
    is_zero = torch.arange(100) % 3 == 0
    is_zero[-1] = True
    x[is_zero] = 0
    for seed in range(50):
        picked, scales = key_for(x, 40, seed)
        assert not bool(is_zero[picked].any())
        assert bool(scales.isfinite().all())


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        (torch.float32, 1e18),
        (torch.float32, 1e-18),
        (torch.bfloat16, 1e18),
        (torch.float16, 60_000),
        (torch.float16, 1e-7),
    ],
)
def test_norm_rows_takes_any_size_of_numbers(dtype, size):
    """Norms neither overflow nor vanish, where the numbers themselves do not."""
    x = torch.full((10, 4), size, dtype=dtype)
    picked, scales = key_for(x, 6)
    torch.testing.assert_close(scales, torch.full_like(scales, (10 / 6) ** 0.5))
    assert len(set(picked.tolist())) > 1


def test_norm_rows_tells_many_rows_apart():
    """Of very many rows each is drawn as often as its scale says: 24 bits would not tell them."""
    rows, proj_dim = 2**18, 2**12
    picked, _ = key_for(torch.ones(rows, 1), proj_dim)
    words = philox.stream(torch.tensor(3), proj_dim, philox.Use.BINS)
    assert torch.equal(picked, words * rows >> 32)


def test_norm_rows_does_not_hide_what_is_not_finite():
    """An infinite X gives an X_proj that is not finite, as a gradient scaler expects."""
    x = torch.randn(10, 4)
    x[3, 2] = torch.inf
    assert not bool(sketches.get("norm-rows").project(x, 5, 1).isfinite().all())


def test_work():
    """Scaling what is picked; and for norm-rows a product and a sum for each element, the norms."""
    assert sketches.get("rows").flops(64, 5, 10) == 10 * 5
    assert sketches.get("norm-rows").flops(64, 5, 10) == 2 * 64 * 5 + 10 * 5
