"""The one law that every sketch must pass; adding one to the registry buys all of this."""

import math
from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm
from torch.profiler import ProfilerActivity, profile

from rmmbench import sketches
from rmmbench.kernels.rounding import restored
from rmmbench.sketches._blocked import Blocked
from rmmbench.sketches.sketch import WORKSPACE_BYTES, Sketch

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


class Variant(NamedTuple):
    """A sketch, and into how many blocks of consecutive rows it divides X; None for no blocks."""

    name: str
    blocks: int | None = None

    def at(self, rows: int) -> tuple[Sketch, int]:
        """Return the sketch, and a number of rows that it takes: `rows`, or a few more."""
        if self.blocks is None:
            return sketches.get(self.name), rows
        block_rows = -(-rows // self.blocks)
        return sketches.get(self.name, block_rows=block_rows), block_rows * self.blocks

    def __str__(self) -> str:
        return self.name if self.blocks is None else f"{self.name}-in-{self.blocks}"


def variants() -> list[Variant]:
    """Return every sketch, those with blocks in several shapes, too."""
    found = []
    for name in sketches.names():
        kind = sketches.SKETCHES.get(name)
        if not kind.has_factors:
            found.append(Variant(name))
        if "block_rows" in sketches.settings_of(name).model_fields:
            found += [Variant(name, n) for n in ((1, 4, 12) if kind.has_factors else (3,))]
    return found


VARIANTS = variants()

every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)
every_device = pytest.mark.parametrize("device", DEVICES)

# Rows, ρ and a mean that all rows share.
CASES = [(2, 1 / 3, 0.0), (63, 1 / 3, 0.0), (211, 0.1, 0.0), (211, 0.5, 1.0), (211, 0.9, 1.0)]
every_case = pytest.mark.parametrize(("rows", "rho", "mean"), CASES)


def matrices(rows: int, mean: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return X and Y whose norms rise from row to row, and of which runs of eight rows are alike.

    So which rows meet, and which are left out, is seen.
    """
    generator = torch.Generator().manual_seed(rows)
    runs = torch.randn(-(-rows // 8), 11, generator=generator, dtype=torch.float64)
    both = runs.repeat_interleave(8, dim=0)[:rows] + mean
    both = both + 0.3 * torch.randn(rows, 11, generator=generator, dtype=torch.float64)
    both *= torch.linspace(0.5, 1.5, rows, dtype=torch.float64).unsqueeze(1)
    x, y = both.split([6, 5], dim=1)
    return x, y


class Trial(NamedTuple):
    """The errors (SᵀY)ᵀSᵀX − YᵀX of many seeds, and what the closed form says of them."""

    exact: Tensor
    errors: Tensor
    variance: float
    rows: int


@cache
def trial(variant: Variant, rows: int, rho: float, mean: float, device: str) -> Trial:
    """Sketch one X and Y with many seeds."""
    sketch, rows = variant.at(rows)
    x, y = (matrix.to(device) for matrix in matrices(rows, mean))
    proj_dim = sketch.size_from(rows, math.ceil(rho * rows))
    # Few rows, or a short axis with few signs, make for rare and large errors.
    draws = 1000 if rows < 10 or sketch.has_factors else 400
    exact, both, errors = y.T @ x, torch.cat([x, y], dim=1), []
    for seed in range(draws):
        key = sketch.draw(x, proj_dim, torch.tensor(seed, device=device))
        x_proj, y_proj = sketch.project(both, proj_dim, key).split([6, 5], dim=1)
        errors.append(y_proj.T @ x_proj - exact)
    variance = sketch.variance(sketch.moments(x, y), rows, proj_dim)
    return Trial(exact, torch.stack(errors), variance, rows)


@every_variant
@every_case
@every_device
def test_unbiased(variant, rows, rho, mean, device):
    """The mean estimate of YᵀX is YᵀX, within 4 standard errors of the closed form."""
    found = trial(variant, rows, rho, mean, device)
    error = found.errors.mean(0)
    # The mean's squared error has this expectation, and for a single direction no more.
    expected = found.variance / len(found.errors) * (1 + 1 / found.rows)
    assert error.square().sum().item() <= 16 * expected + 1e-20
    along = (error * found.exact).sum().abs() / found.exact.norm()
    assert along.item() <= 4 * math.sqrt(max(expected, 0)) + 1e-10


@every_variant
@every_case
@every_device
def test_variance_is_the_closed_form(variant, rows, rho, mean, device):
    """The mean squared error is the closed form's, within 4 standard errors."""
    found = trial(variant, rows, rho, mean, device)
    squared = found.errors.square().sum((1, 2))
    standard_error = squared.std().item() / math.sqrt(len(squared))
    # Transforms whose entries differ in size meet their form to a relative 1 / rows.
    slack = found.variance / found.rows if variant.name in {"dct", "dft"} else 0
    slack += 1e-10 * found.exact.square().sum().item()
    assert abs(squared.mean().item() - found.variance) <= 4 * standard_error + slack
    assert standard_error <= 0.08 * max(found.variance, 0)


@every_variant
def test_error_has_its_closed_form_at_every_size(variant):
    """The closed form falls as S gets columns, from one to all rows, and is never negative."""
    sketch, rows = variant.at(24)
    moments = sketch.moments(*matrices(rows))
    sizes = sorted({sketch.size_from(rows, wanted) for wanted in range(1, rows + 1)})
    variances = [sketch.variance(moments, rows, size) for size in sizes]
    assert min(variances) >= 0
    if not sketch.has_factors:  # two factors of a size trade noise along one axis for the other
        assert variances == sorted(variances, reverse=True)


@every_variant
@pytest.mark.parametrize("rows", [1, 2, 7, 63, 64, 1009])
@every_device
def test_any_number_of_rows(variant, rows, device):
    """Every number of rows, primes too, gives a real sketch of every size."""
    sketch, rows = variant.at(rows)
    x = torch.randn(rows, 3, device=device)
    for proj_dim in {sketch.size_from(rows, wanted) for wanted in (1, rows // 2 or 1, rows)}:
        x_proj = sketch.project(x, proj_dim, 5)
        assert x_proj.shape == (proj_dim, 3)
        assert x_proj.dtype == x.dtype
        assert bool(x_proj.isfinite().all())
        assert x_proj.norm() > 0


@every_variant
@pytest.mark.parametrize("rows", [1, 5, 24, 397])
def test_size_is_possible_and_enough(variant, rows):
    """size_from gives a size that project takes, at least what is wanted and at most the rows."""
    sketch, rows = variant.at(rows)
    x = torch.zeros(rows, 1)
    for wanted in {1, 2, rows // 3, rows - 1, rows} - {0}:
        proj_dim = sketch.size_from(rows, min(wanted, rows))
        assert min(wanted, rows) <= proj_dim <= rows
        assert sketch.project(x, proj_dim, 0).shape == (proj_dim, 1)
        assert sketch.size_from(rows, proj_dim) == proj_dim


@every_variant
@pytest.mark.parametrize("rows", [5, 1000])
@every_device
def test_same_sketch_for_every_matrix(variant, rows, device):
    """A key names S whatever is projected: projecting is multiplying by project(eye)."""
    sketch, rows = variant.at(rows)
    proj_dim = sketch.size_from(rows, math.ceil(rows / 3))
    x = torch.randn(rows, 2, dtype=torch.float64, device=device)
    key = sketch.draw(x, proj_dim, torch.tensor(11, device=device))
    eye = torch.eye(rows, dtype=torch.float64, device=device)
    explicit = sketch.project(eye, proj_dim, key)
    torch.testing.assert_close(sketch.project(x, proj_dim, key), explicit @ x)
    torch.testing.assert_close(sketch.project(x, proj_dim, 11), explicit @ x)


@every_variant
@every_device
def test_key_is_what_new_key_says(variant, device):
    """What draw gives is a key of new_key's shape and type, and for a key that key again."""
    sketch, rows = variant.at(40)
    proj_dim = sketch.size_from(rows, 10)
    x = torch.randn(rows, 4, device=device)
    key, expected = (
        sketch.draw(x, proj_dim, torch.tensor(1, device=device)),
        sketch.new_key(x, proj_dim),
    )
    assert (key.shape, key.dtype, key.device) == (expected.shape, expected.dtype, expected.device)
    assert torch.equal(sketch.draw(x, proj_dim, key), key)


@every_variant
def test_seeds_name_sketches(variant):
    """The same seed repeats a sketch, as a number or a tensor; another seed is another sketch."""
    sketch, rows = variant.at(40)
    x, proj_dim = torch.randn(rows, 4), sketch.size_from(rows, 10)
    first = sketch.project(x, proj_dim, 1)
    assert torch.equal(first, sketch.project(x, proj_dim, torch.tensor(1)))
    for other in (2, 2**31, 2**63 - 1):
        assert not torch.allclose(first, sketch.project(x, proj_dim, other))


@every_variant
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("rows", "wanted"), [(300, 50), (20_000, 4)])
def test_dtypes(variant, dtype, rows, wanted):
    """Low precision costs rounding only: sums of a thousand rows are near those in float64."""
    sketch, rows = variant.at(rows)
    proj_dim = sketch.size_from(rows, wanted)
    x = torch.randn(rows, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
    key = sketch.draw(x, proj_dim, torch.tensor(3))
    found, exact = sketch.project(x, proj_dim, key), sketch.project(x.double(), proj_dim, key)
    assert found.dtype == dtype
    if variant.name != "gaussian":  # normal entries are other numbers in float64
        error = (found.double() - exact).norm() / exact.norm()
        # S, its factors and the result are rounded, by half an eps each; the sum is not.
        sum_eps = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
        assert error.item() <= torch.finfo(dtype).eps + math.sqrt(rows) * sum_eps


# Scales that are rounded far, or lie so near a power of two that a product is rounded back.
SCALES = [(350, 35), (1000, 300), (1000, 255), (300, 299)]


@every_variant
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("rows", "wanted"), SCALES)
@every_device
def test_low_precision_moves_no_mean(variant, dtype, rows, wanted, device):
    """What is rounded evens out though all rows have one norm: SᵀX is neither longer nor shorter.

    By 5 standard errors: of each number the rounding of S, of X_proj and of what is between is less
    than half an eps together.
    """
    sketch, rows = variant.at(rows)
    proj_dim = sketch.size_from(rows, wanted)
    x = torch.randn(rows, 192, generator=torch.Generator().manual_seed(2))
    x = layer_norm(x, (192,)).to(device, dtype)
    key = sketch.draw(x, proj_dim, torch.tensor(3, device=device))
    found = sketch.project(x, proj_dim, key).double()
    exact = sketch.project(x.float(), proj_dim, key).double()
    factor = (found * exact).sum() / exact.square().sum()
    standard_error = torch.finfo(dtype).eps / 2 * exact.square().norm() / exact.square().sum()
    assert abs(factor.item() - 1) <= 5 * standard_error.item()


@every_variant
def test_half_precision_does_not_overflow(variant):
    """Where SᵀX itself has room in float16, what is computed on the way has it, too."""
    sketch, rows = variant.at(4096)
    proj_dim = sketch.size_from(rows, 1024)
    x = torch.full((rows, 2), 3000, dtype=torch.float16)
    key = sketch.draw(x, proj_dim, torch.tensor(4))
    assert sketch.project(x.double(), proj_dim, key).abs().max() < 50_000
    assert bool(sketch.project(x, proj_dim, key).isfinite().all())


@every_variant
def test_project_and_sum(variant):
    """project_and_sum gives what project gives, and the sum of the rows."""
    sketch, rows = variant.at(40)
    y, proj_dim = torch.randn(rows, 4), sketch.size_from(rows, 10)
    key = sketch.draw(y, proj_dim, torch.tensor(1))
    y_proj, total = sketch.project_and_sum(y, proj_dim, key)
    torch.testing.assert_close(y_proj, sketch.project(y, proj_dim, key))
    torch.testing.assert_close(total, y.sum(0))


@every_variant
@pytest.mark.parametrize("rho", [0.3, 0.8])
def test_few_bits_are_of_the_same_sketch(variant, rho):
    """In 8 bits SᵀX is that of `project` for the same key, within a step."""
    sketch, rows = variant.at(60)
    proj_dim = sketch.size_from(rows, math.ceil(rho * rows))
    x = torch.randn(rows, 70, generator=torch.Generator().manual_seed(0))
    key = sketch.draw(x, proj_dim, torch.tensor(5))
    kept = sketch.project_in_bits(x, proj_dim, key, 8, torch.tensor(6))
    expected = sketch.project(x, proj_dim, key)
    steps = kept[1][..., 1].float().repeat_interleave(64, 1)[:, :70]
    assert bool(((restored(*kept, 70, 8, x.dtype) - expected).abs() <= 1.001 * steps).all())


@every_variant
def test_takes_what_is_not_contiguous(variant):
    """A transposed matrix, or every other column of one, is projected as its copy is."""
    sketch, rows = variant.at(40)
    proj_dim = sketch.size_from(rows, 10)
    for x in (torch.randn(6, rows).T, torch.randn(rows, 12)[:, ::2]):
        key = sketch.draw(x, proj_dim, torch.tensor(1))
        found = sketch.project(x, proj_dim, key)
        torch.testing.assert_close(found, sketch.project(x.contiguous(), proj_dim, key))


@every_variant
def test_changes_nothing(variant):
    """X keeps its numbers, and dropout and shuffling draw the same whether or not one sketches."""
    sketch, rows = variant.at(20)
    x = torch.randn(rows, 2, generator=torch.Generator().manual_seed(0))
    before, copy = torch.get_rng_state(), x.clone()
    sketch.project(x, sketch.size_from(rows, 5), 1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(x, copy)


@every_variant
@pytest.mark.parametrize(
    ("rows", "features", "proj_dim"), [(16384, 96, 8192), (300_000, 8, 1000), (2**20, 4, 100)]
)
def test_bounded_workspace(variant, rows, features, proj_dim):
    """Beside input and result, projecting holds at most WORKSPACE_BYTES, by the allocator's events.

    S whole would be 0.5, 1.1 and 0.4 GiB here.
    """
    sketch, rows = variant.at(rows)
    if isinstance(sketch, Blocked) and rows > 100_000:
        proj_dim = 70  # the work is rows × proj_dim
    x, proj_dim = torch.randn(rows, features), sketch.size_from(rows, proj_dim)
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as profiler:
        x_proj = sketch.project(x, proj_dim, 1)
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    live = peak = 0
    for _, change in changes:
        live += change
        peak = max(peak, live)
    assert peak > x_proj.nbytes
    assert peak - x_proj.nbytes <= WORKSPACE_BYTES


@every_variant
def test_wrong_arguments(variant):
    """What is no matrix, or no possible size, is refused with what was given."""
    sketch, rows = variant.at(12)
    with pytest.raises(ValueError, match=r"x must be a matrix .* got shape \(2, 3, 4\)"):
        sketch.project(torch.zeros(2, 3, 4), 1, 0)
    for proj_dim in (0, rows + 1):
        message = f"between 1 and the {rows} rows of x, got {proj_dim}"
        with pytest.raises(ValueError, match=message):
            sketch.project(torch.zeros(rows, 3), proj_dim, 0)


@every_variant
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_numbers_that_cannot_be_sketched(variant, dtype):
    """Whole, complex and 8-bit numbers are refused: none is rounded to them without a word."""
    sketch, rows = variant.at(12)
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(TypeError, match=f"x must be of float64, float32, .*, got {name}"):
        sketch.project(torch.ones(rows, 3).to(dtype), rows, 0)


@every_variant
def test_what_is_no_whole_number(variant):
    """A size or a seed that is no whole number is refused, and so is a seed beyond 64 bits."""
    sketch, rows = variant.at(12)
    x = torch.ones(rows, 3)
    for proj_dim in (2.5, True, torch.tensor(rows)):
        with pytest.raises(TypeError, match="proj_dim must be a whole number, got "):
            sketch.project(x, proj_dim, 0)
    for seed in (1.5, True, "1", torch.tensor(1.0), torch.tensor([1, 2]), torch.tensor(True)):
        with pytest.raises(TypeError, match="seed must be an integer or a tensor of one, got "):
            sketch.project(x, rows, seed)
    with pytest.raises(
        ValueError, match=r"seed must be from -2\*\*63 to 2\*\*63 - 1, got 9223372036"
    ):
        sketch.project(x, rows, 2**63)


@every_variant
def test_tensors_of_one_integer_are_seeds(variant):
    """A seed may be of any shape and any width: it is the number that counts."""
    sketch, rows = variant.at(12)
    x, proj_dim = torch.randn(rows, 3), sketch.size_from(rows, 4)
    expected = sketch.project(x, proj_dim, 5)
    for seed in (torch.tensor([5]), torch.tensor(5, dtype=torch.int32)):
        assert torch.equal(sketch.project(x, proj_dim, seed), expected)


@every_variant
@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16, torch.float16])
def test_defaults_of_torch_change_nothing(variant, default):
    """Sketches depend neither on torch's default dtype nor on its default device."""
    sketch, rows = variant.at(300)
    x, proj_dim = torch.randn(rows, 3), sketch.size_from(rows, 100)
    expected = sketch.project(x, proj_dim, 5)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        with torch.device("meta"):
            found = sketch.project(x, proj_dim, 5)
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, expected)


@every_variant
def test_more_rows_than_integers(variant):
    """Rows are counted in 32 bits, and more than these are refused, not taken modulo."""
    block_rows = 2**29 if sketches.get(variant.name).has_factors else None
    sketch = sketches.get(variant.name, block_rows=block_rows)
    with pytest.raises(ValueError, match=r"fewer than 2\*\*31 rows, got 2147483648"):
        sketch.project(torch.ones(1, 1).expand(2**31, 1), 4, 0)


@every_variant
def test_without_features(variant):
    """A matrix of no columns has a projection of none."""
    sketch, rows = variant.at(12)
    x_proj, total = sketch.project_and_sum(torch.ones(rows, 0), rows, torch.tensor(1))
    assert (x_proj.shape, total.shape) == ((rows, 0), (0,))
