"""The one law that every sketch must pass; adding one to the registry buys all of this."""

import math

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from rmmbench import sketches
from rmmbench.sketches.sketch import WORKSPACE_BYTES, Moments

NAMES = sketches.names()
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]

every_sketch = pytest.mark.parametrize("name", NAMES)


def matrices(rows: int, *, common_mean: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return X and Y of `rows` rows whose norms differ from row to row."""
    generator = torch.Generator().manual_seed(rows)
    scale = 0.5 + torch.rand(rows, 1, generator=generator, dtype=torch.float64)
    x = torch.randn(rows, 6, generator=generator, dtype=torch.float64) * scale + common_mean
    y = torch.randn(rows, 5, generator=generator, dtype=torch.float64) * scale + common_mean
    return x, y


def squared_errors(name: str, x: Tensor, y: Tensor, proj_dim: int, draws: int) -> Tensor:
    """Return ‖SᵀYᵀSX − YᵀX‖²_F for `draws` seeds."""
    sketch = sketches.get(name)
    exact = y.T @ x
    estimates = (
        sketch.project(y, proj_dim, seed).T @ sketch.project(x, proj_dim, seed)
        for seed in range(draws)
    )
    return torch.stack([(estimate - exact).square().sum() for estimate in estimates])


@every_sketch
@pytest.mark.parametrize("rows", [2, 63, 211])
def test_unbiased(name: str, rows: int) -> None:
    """The mean estimate of YᵀX along YᵀX is 1, within 4 standard errors of the closed form."""
    x, y = matrices(rows)
    sketch, exact, draws = sketches.get(name), (y.T @ x), 1000
    proj_dim = math.ceil(rows / 3)
    total = torch.zeros_like(exact)
    for seed in range(draws):
        total += sketch.project(y, proj_dim, seed).T @ sketch.project(x, proj_dim, seed)
    error = total / draws - exact
    # The mean's squared error has this expectation, and for a single direction no more.
    expected = sketch.variance(Moments.of(x, y), rows, proj_dim) / draws
    assert error.square().sum().item() <= 16 * expected * (1 + 1 / rows) + 1e-20
    along = (error * exact).sum().abs() / exact.norm()
    assert along.item() <= 4 * math.sqrt(expected * (1 + 1 / rows)) + 1e-10


@every_sketch
@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("common_mean", [0.0, 1.0])
def test_variance_is_the_closed_form(name: str, rho: float, common_mean: float) -> None:
    """The mean squared error is the closed form's, within 4 standard errors."""
    rows, draws = 397, 1000
    x, y = matrices(rows, common_mean=common_mean)
    proj_dim = math.ceil(rho * rows)
    errors = squared_errors(name, x, y, proj_dim, draws)
    expected = sketches.get(name).variance(Moments.of(x, y), rows, proj_dim)
    standard_error = errors.std().item() / math.sqrt(draws)
    # Transforms whose entries differ in size meet their form to a relative 1 / rows.
    assert abs(errors.mean().item() - expected) <= 4 * standard_error + expected / rows
    assert standard_error < 0.08 * expected


@every_sketch
@pytest.mark.parametrize("rows", [1, 2, 7, 63, 64, 1009])
@pytest.mark.parametrize("device", DEVICES)
def test_any_number_of_rows(name: str, rows: int, device: str) -> None:
    """Every number of rows, primes too, gives a real sketch of every size."""
    sketch = sketches.get(name)
    x = torch.randn(rows, 3, device=device)
    for proj_dim in sorted({1, rows // 2 or 1, rows}):
        x_proj = sketch.project(x, proj_dim, 5)
        assert x_proj.shape == (proj_dim, 3)
        assert x_proj.dtype == x.dtype
        assert bool(x_proj.isfinite().all())
        assert x_proj.norm() > 0


@every_sketch
@pytest.mark.parametrize("rows", [5, 1000])
def test_same_sketch_for_every_matrix(name: str, rows: int) -> None:
    """S depends on seed, rows and proj_dim alone: projecting is multiplying by project(eye)."""
    sketch, proj_dim = sketches.get(name), math.ceil(rows / 3)
    explicit = sketch.project(torch.eye(rows, dtype=torch.float64), proj_dim, 11)
    x = torch.randn(rows, 2, dtype=torch.float64)
    torch.testing.assert_close(sketch.project(x, proj_dim, 11), explicit @ x)


@every_sketch
def test_seeds_name_sketches(name: str) -> None:
    """The same seed repeats a sketch, as a number or a tensor; another seed is another sketch."""
    sketch, x = sketches.get(name), torch.randn(40, 4)
    first = sketch.project(x, 10, 1)
    assert torch.equal(first, sketch.project(x, 10, torch.tensor(1)))
    assert not torch.allclose(first, sketch.project(x, 10, 2))


@every_sketch
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtypes(name: str, dtype: torch.dtype) -> None:
    """Low precision costs rounding only: the result is near that of the same values in float64."""
    x = torch.randn(300, 8).to(dtype)
    sketch = sketches.get(name)
    found, exact = sketch.project(x, 50, 3), sketch.project(x.double(), 50, 3)
    assert found.dtype == dtype
    if name != "gaussian":  # normal entries are other numbers in float64
        error = (found.double() - exact).norm() / exact.norm()
        # S and result are each rounded once, the sum is not.
        assert error.item() <= 4 * torch.finfo(dtype).eps


@every_sketch
def test_leaves_the_global_generator_alone(name: str) -> None:
    """Dropout and shuffling draw the same numbers whether or not something was sketched."""
    before = torch.get_rng_state()
    sketches.get(name).project(torch.randn(20, 2, generator=torch.Generator()), 5, 1)
    assert torch.equal(before, torch.get_rng_state())


@every_sketch
@pytest.mark.parametrize(
    ("rows", "features", "proj_dim"), [(16384, 96, 8192), (300_000, 8, 1000), (2**20, 4, 100)]
)
def test_bounded_workspace(name: str, rows: int, features: int, proj_dim: int) -> None:
    """Beside input and result, projecting holds at most WORKSPACE_BYTES, by the allocator's events.

    S whole would be 0.5, 1.1 and 0.4 GiB here.
    """
    x, sketch = torch.randn(rows, features), sketches.get(name)
    if name in {"gaussian", "rademacher"} and rows > 100_000:
        proj_dim = 70  # the work is rows × proj_dim
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        x_proj = sketch.project(x, proj_dim, 1)
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    live = peak = 0
    for _, change in changes:
        live += change
        peak = max(peak, live)
    assert peak > x_proj.nbytes
    assert peak - x_proj.nbytes <= WORKSPACE_BYTES


@every_sketch
def test_wrong_arguments(name: str) -> None:
    """What is no matrix, or no possible size, is refused with what was given."""
    sketch = sketches.get(name)
    with pytest.raises(ValueError, match=r"x must be a matrix .* got shape \(2, 3, 4\)"):
        sketch.project(torch.zeros(2, 3, 4), 1, 0)
    for proj_dim in (0, 6):
        with pytest.raises(ValueError, match=f"between 1 and the 5 rows of x, got {proj_dim}"):
            sketch.project(torch.zeros(5, 3), proj_dim, 0)


def test_unknown_name() -> None:
    """An unknown sketch is named with the nearest and all others."""
    with pytest.raises(ValueError, match="no sketch named 'guassian'; did you mean 'gaussian'"):
        sketches.get("guassian")
