"""Sums of bins: kernel, twin and plain arithmetic agree."""

import pytest
import torch

from rmmbench import sketches
from rmmbench.kernels import bins, philox
from rmmbench.kernels.levels import BITS
from rmmbench.kernels.permutation import permutation_twin

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SIZES = [(1, 1, 1), (63, 5, 7), (1000, 96, 110), (1000, 130, 3), (70, 300, 70), (257, 64, 40)]
KINDS = ["equal", "random"]
# In the interpreter a large size takes seconds, so there each type has bins of one kind.
SLOW = [(1000, 96, 110), (1000, 130, 3), (70, 300, 70)]
CASES = [
    pytest.param(*size, kind, dtype, id=f"{'-'.join(map(str, size))}-{kind}-{dtype}")
    for size in SIZES
    for kind in KINDS
    for dtype in DTYPES
    if size not in SLOW or (kind == "equal") == (dtype in (torch.float32, torch.bfloat16))
]


def plan(kind, rows, count):
    """Return rows by bin, where bins start, and packed signs; random bins are in part empty."""
    words = philox.stream_twin(torch.tensor(rows), -(-rows // 32), philox.Use.SIGNS)
    numbers = torch.arange(count)
    if kind == "equal":
        starts = (numbers * rows // count).int()
        return permutation_twin(torch.tensor(count), rows), starts, words
    chosen = torch.randint(count, (rows,), generator=torch.Generator().manual_seed(count))
    ordered, order = chosen.sort(stable=True)
    return order.int(), torch.searchsorted(ordered, numbers, out_int32=True), words


def explicit(x, order, starts, words):
    """Return the sums in float64, bin by bin."""
    signed = x.double() * philox.unpack_signs(words, x.shape[0], torch.float64).unsqueeze(1)
    ends = [*starts.tolist()[1:], x.shape[0]]
    chosen = (order[start:end] for start, end in zip(starts.tolist(), ends, strict=True))
    return torch.stack([signed[rows.long()].sum(0) for rows in chosen])


def assert_rounded(found, exact, terms):
    """Assert that a sum of so many terms differs from the exact one by no more than rounding."""
    assert found.shape == exact.shape
    # One rounding to the result's type, and each term's in the sum, in float32 at least.
    inner = torch.finfo(torch.float64 if found.dtype == torch.float64 else torch.float32).eps
    limits = {"rtol": torch.finfo(found.dtype).eps, "atol": 4 * inner * max(1, terms)}
    torch.testing.assert_close(found.cpu().double(), exact, **limits)


@pytest.mark.parametrize("kind", ["equal", "random"])
@pytest.mark.parametrize(("rows", "features", "count"), SIZES)
def test_twin_is_the_plain_sum(kind, rows, features, count):
    """The twin adds up each bin's rows with their signs, and all rows without."""
    x, arguments = torch.randn(rows, features), plan(kind, rows, count)
    sums, total = bins.bin_sums_and_total_twin(x, *arguments)
    assert_rounded(sums, explicit(x, *arguments), rows)
    assert_rounded(total, x.double().sum(0), rows)
    assert torch.equal(sums, bins.bin_sums_twin(x, *arguments))


@pytest.mark.parametrize(("rows", "features", "count", "kind", "dtype"), CASES)
def test_kernel_equals_its_twin(device, rows, features, count, kind, dtype):
    """Sums and total are those of the twin in float64, but for rounding; empty bins are zeros."""
    from rmmbench.kernels import _triton_bins

    x, arguments = torch.randn(rows, features).to(dtype), plan(kind, rows, count)
    on_device = [each.to(device) for each in (x, *arguments)]
    exact, exact_total = bins.bin_sums_and_total_twin(x.double(), *arguments)
    sums, total = _triton_bins.bin_sums_and_total(*on_device)
    assert sums.dtype == total.dtype == dtype
    assert_rounded(sums, exact, rows)
    assert_rounded(total, exact_total, rows)


@pytest.mark.parametrize("kind", ["equal", "random"])
def test_kernel_repeats_to_the_bit(device, kind):
    """The sums do not depend on whether the total is asked for, nor on the run."""
    from rmmbench.kernels import _triton_bins

    on_device = [each.to(device) for each in (torch.randn(200, 130), *plan(kind, 200, 50))]
    sums, total = _triton_bins.bin_sums_and_total(*on_device)
    assert torch.equal(sums, _triton_bins.bin_sums(*on_device))
    assert torch.equal(total, _triton_bins.bin_sums_and_total(*on_device)[1])


@pytest.mark.parametrize("layout", ["transposed", "sliced", "one row", "one column"])
def test_kernel_takes_any_layout(device, layout):
    """Rows and features may lie in memory as they like."""
    from rmmbench.kernels import _triton_bins

    x = {
        "transposed": torch.randn(40, 90).T,
        "sliced": torch.randn(180, 120)[::2, 1::3],
        "one row": torch.randn(40).expand(90, 40),
        "one column": torch.randn(90, 1).expand(90, 40),
    }[layout]
    arguments = plan("equal", 90, 20)
    # Moved as it lies: a copy to a GPU would be contiguous.
    storage = x.as_strided((x.untyped_storage().nbytes() // 4,), (1,), 0).to(device)
    placed = storage.as_strided(x.shape, x.stride(), x.storage_offset())
    found, total = _triton_bins.bin_sums_and_total(placed, *(each.to(device) for each in arguments))
    assert_rounded(found, explicit(x, *arguments), 90)
    assert_rounded(total, x.double().sum(0), 90)


def test_kernel_shares_the_total_among_few_programs(device, monkeypatch):
    """A program that takes many blocks of bins leaves none out."""
    from rmmbench.kernels import _triton_bins, outlines

    monkeypatch.setattr(outlines, "PROGRAMS_WITH_TOTAL", 2)
    x, arguments = torch.randn(300, 260), plan("random", 300, 130)
    on_device = [each.to(device) for each in (x, *arguments)]
    sums, total = _triton_bins.bin_sums_and_total(*on_device)
    assert_rounded(sums, explicit(x, *arguments), 300)
    assert_rounded(total, x.double().sum(0), 300)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", ["equal", "random"])
@pytest.mark.parametrize(("rows", "features", "count"), [(63, 5, 7), (100, 96, 9), (40, 300, 5)])
def test_kernel_rounds_the_sums_in_its_pass(device, bits, kind, rows, features, count):
    """Levels and ends are to the bit those of sums that were written first, in float32."""
    from rmmbench.kernels import _triton_bins, _triton_rounding

    x, arguments = torch.randn(rows, features).bfloat16(), plan(kind, rows, count)
    placed, seed = [each.to(device) for each in arguments], torch.tensor(99, device=device)
    found = _triton_bins.bin_sums_in_bits(x.to(device), *placed, bits, seed)
    sums = _triton_bins.bin_sums(x.float().to(device), *placed)
    expected = _triton_rounding.round_to_bits(sums, bits, seed)
    assert all(map(torch.equal, found, expected))


def test_no_features(device):
    """Nothing is launched where there is nothing to do."""
    from rmmbench.kernels import _triton_bins

    x, arguments = torch.randn(9, 0, device=device), plan("equal", 9, 4)
    sums, total = _triton_bins.bin_sums_and_total(x, *(each.to(device) for each in arguments))
    assert (sums.shape, total.shape) == ((4, 0), (0,))
    seed = torch.tensor(1, device=device)
    levels, _ = _triton_bins.bin_sums_in_bits(x, *(each.to(device) for each in arguments), 4, seed)
    assert levels.shape == (4, 0)


@pytest.mark.parametrize("name", ["oporp", "countsketch"])
def test_sketches_project_and_sum(name):
    """A sketch gives SᵀY and the bias gradient together as it does apart, and refuses the same."""
    sketch, y = sketches.get(name), torch.randn(70, 9, requires_grad=True)
    y_proj, total = sketch.project_and_sum(y, 20, torch.tensor(3))
    assert torch.equal(y_proj, sketch.project(y, 20, 3))
    assert torch.equal(total, y.sum(0))
    assert not y_proj.requires_grad
    with pytest.raises(ValueError, match="proj_dim must be between 1 and the 70 rows"):
        sketch.project_and_sum(y, 71, torch.tensor(3))
