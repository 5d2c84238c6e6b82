"""Products with a dense S: entries are what they should be, and kernel and twin agree."""

import math

import pytest
import torch

from rmmbench.kernels import dense

SEED = torch.tensor(-(2**60) + 7)
ENTRIES = {"signs": dense.sign_entries, "normals": dense.normal_entries}
every_kind = pytest.mark.parametrize("kind", ENTRIES)

# Rows, features, columns of S, rows a block.
SIZES = [
    (1, 1, 1, 1),
    (63, 5, 7, 63),
    (1000, 96, 20, 1000),
    (130, 130, 130, 130),
    (60, 20, 12, 20),
    (66, 300, 6, 11),
]


def relative_error(found, exact):
    """Return ‖found − exact‖ / ‖exact‖."""
    return ((found.cpu().double() - exact).norm() / exact.norm()).item()


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("rows", "features", "columns", "block_rows"), SIZES)
def test_kernel_equals_its_twin(device, kind, dtype, rows, features, columns, block_rows):
    """SᵀX is the twin's in float64, but for the rounding of S and of the result."""
    from rmmbench.kernels import _triton_dense

    x, entries = torch.randn(rows, features).to(dtype), ENTRIES[kind]
    found = _triton_dense.project(x.to(device), columns, block_rows, SEED.to(device), entries)
    exact = dense.project_twin(x.double(), columns, block_rows, SEED, entries)
    assert found.shape == exact.shape
    assert found.dtype == dtype
    # Two roundings of half an eps at most; a sum of n terms in float32 has some √n more.
    rounded_twice = (1 + torch.finfo(dtype).eps / 2) ** 2 - 1
    limit = rounded_twice + math.sqrt(rows) * torch.finfo(torch.float32).eps
    assert relative_error(found, exact) <= limit


@every_kind
@pytest.mark.parametrize("columns", [1, 30, 132])
def test_kernel_makes_the_entries_of_its_twin(device, kind, columns):
    """Entry by entry S is the twin's: every sign, and normal numbers to rounding."""
    from rmmbench.kernels import _triton_dense

    rows, entries = 140, ENTRIES[kind]
    eye = torch.eye(rows, device=device)
    found = _triton_dense.project(eye, columns, rows, SEED.to(device), entries).cpu()
    exact = entries(SEED, range(rows), range(columns), torch.float32).T
    # The scale is rounded; a logarithm near 0 and the angles are, too.
    atol = 0.0 if kind == "signs" else 2e-5
    torch.testing.assert_close(found * math.sqrt(columns), exact, rtol=4e-7, atol=atol)


@every_kind
def test_kernel_divides_rows_among_programs(device, kind, monkeypatch):
    """A sum in several parts is the sum."""
    from rmmbench.kernels import _triton_dense, outlines

    monkeypatch.setattr(outlines, "_FEWEST_ROWS", 50)
    x, entries = torch.randn(500, 40).bfloat16(), ENTRIES[kind]
    for block_rows in (500, 250):
        found = _triton_dense.project(x.to(device), 20, block_rows, SEED.to(device), entries)
        exact = dense.project_twin(x.double(), 20, block_rows, SEED, entries)
        assert relative_error(found, exact) <= torch.finfo(torch.bfloat16).eps


@pytest.fixture(params=[("ieee", 2e-6), ("tf32", 2**-10)], ids=["ieee", "tf32"])
def precision(request):
    """Let products of float32 have TF32's 10 bits, or not; and how large an error that allows."""
    matmul = torch.backends.cuda.matmul
    was, (matmul.fp32_precision, limit) = matmul.fp32_precision, request.param
    yield limit
    matmul.fp32_precision = was


def test_kernel_takes_tf32_where_torch_does(device, precision):
    """TF32 is used where torch's own products use it, and nowhere else."""
    from rmmbench.kernels import _triton_dense

    x, entries = torch.randn(200, 48), dense.normal_entries
    found = _triton_dense.project(x.to(device), 64, 200, SEED.to(device), entries)
    exact = dense.project_twin(x.double(), 64, 200, SEED, entries)
    assert relative_error(found, exact) <= precision


@pytest.mark.parametrize("layout", ["transposed", "sliced"])
def test_kernel_takes_any_layout(device, layout):
    """Rows and features may lie in memory as they like."""
    from rmmbench.kernels import _triton_dense

    base = torch.randn(200, 200)
    x, on_device = (
        each.T if layout == "transposed" else each[::2, 1::3] for each in (base, base.to(device))
    )
    rows = x.shape[0]
    found = _triton_dense.project(on_device, 9, rows, SEED.to(device), dense.sign_entries)
    exact = dense.project_twin(x.double(), 9, rows, SEED, dense.sign_entries)
    assert relative_error(found, exact) <= 1e-5


@every_kind
def test_no_features(device, kind):
    """Nothing is launched where there is nothing to do."""
    from rmmbench.kernels import _triton_dense

    x = torch.randn(9, 0, device=device)
    assert _triton_dense.project(x, 4, 9, SEED.to(device), ENTRIES[kind]).shape == (4, 0)


@every_kind
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("rows", "columns", "block_rows"), [(250, 140, 250), (250, 15, 50)])
def test_twin_draws_s_in_pieces(kind, dtype, rows, columns, block_rows, monkeypatch):
    """In pieces of rows, of columns or of blocks, S is the same and the sum is."""
    x, entries = torch.randn(rows, 8).to(dtype), ENTRIES[kind]
    blocks = rows // block_rows
    s = entries(SEED, range(rows), range(columns // blocks), torch.float64)
    s = torch.block_diag(*s.view(blocks, block_rows, -1)) * (blocks / columns) ** 0.5
    for rows_at_once in (30, 100, 10_000):
        monkeypatch.setattr(dense, "_PIECE_ELEMENTS", 128 * rows_at_once)
        found = dense.project_twin(x, columns, block_rows, SEED, entries)
        # Entries, scale and result are rounded; in float64 the order of the sum shows, too.
        assert relative_error(found, s.T @ x.double()) <= max(2 * torch.finfo(dtype).eps, 1e-14)


@every_kind
def test_an_entry_is_a_function_of_its_place(kind):
    """Whatever rows and columns are asked for together, each entry is the same."""
    entries = ENTRIES[kind]
    whole = entries(SEED, range(300), range(300), torch.float32)
    part = entries(SEED, range(17, 200), range(128, 290), torch.float32)
    assert torch.equal(part, whole[17:200, 128:290])


def test_signs_are_balanced():
    """Signs have the mean 0, and so have products of neighbours, within 4 standard errors."""
    rows, columns = 1000, 1000
    signs = dense.sign_entries(SEED, range(rows), range(columns), torch.float64)
    assert torch.equal(signs.abs(), torch.ones_like(signs))
    limit = 4 / math.sqrt(rows * columns)
    assert abs(signs.mean().item()) <= limit
    assert abs((signs[1:] * signs[:-1]).mean().item()) <= limit
    assert abs((signs[:, 1:] * signs[:, :-1]).mean().item()) <= limit


def test_normals_have_the_moments_of_normals():
    """Moments one to four are 0, 1, 0 and 3, within 4 standard errors; neighbours go apart."""
    rows, columns = 1000, 1000
    normals = dense.normal_entries(SEED, range(rows), range(columns), torch.float64)
    root = math.sqrt(rows * columns)
    # The variance of the k-th power of a normal number: the 2k-th moment less the k-th's square.
    for power, (mean, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], start=1):
        assert abs(normals.pow(power).mean().item() - mean) <= 4 * math.sqrt(variance) / root
    # All four numbers of a counter: neither they nor their squares go together.
    by_counter = normals.view(-1, 4)
    for first in range(4):
        for second in range(first):
            a, b = by_counter[:, first], by_counter[:, second]
            assert abs((a * b).mean().item()) <= 4 * 2 / root
            # Squares less 1 have the variance 2, their product 4.
            product = (a.square() - 1) * (b.square() - 1)
            assert abs(product.mean().item()) <= 4 * 2 * 2 / root
