"""Few bits: kernel and twin agree to the bit."""

import pytest
import torch

from rmmbench.kernels import rounding
from rmmbench.kernels.levels import BITS

SIZES = [(1, 1), (63, 5), (9, 64), (33, 70), (20, 257), (5, 600)]

each_bits = pytest.mark.parametrize("bits", BITS)
each_size = pytest.mark.parametrize(("rows", "width"), SIZES)


def seed_on(device):
    """Return a seed of which both words matter."""
    return torch.tensor(-(2**62) - 77, device=device)


def assert_same(found, expected):
    """Assert that levels and ends are the same to the bit."""
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one.cpu().view(torch.uint8), other.cpu().view(torch.uint8))


@each_bits
@each_size
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_kernel_rounds_as_its_twin(device, bits, rows, width, dtype):
    """Levels and ends are the twin's to the bit, for every size and type."""
    from rmmbench.kernels import _triton_rounding

    x = (torch.randn(rows, width) * 3 + 1).to(dtype)
    found = _triton_rounding.round_to_bits(x.to(device), bits, seed_on(device))
    assert_same(found, rounding.round_to_bits_twin(x, bits, seed_on("cpu")))


@each_bits
@each_size
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_kernel_restores_as_its_twin(device, bits, rows, width, dtype):
    """What comes back is the twin's to the bit, and less than a step from what there was."""
    from rmmbench.kernels import _triton_rounding

    x = torch.randn(rows, width) * 3 + 1
    kept = rounding.round_to_bits_twin(x, bits, seed_on("cpu"))
    expected = rounding.restored_twin(*kept, width, bits, dtype)
    placed = [each.to(device) for each in kept]
    found = _triton_rounding.restored(*placed, width, bits, dtype)
    tolerance = {"rtol": torch.finfo(dtype).eps, "atol": 0} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(found.cpu(), expected, **(tolerance or {"rtol": 0, "atol": 0}))
    steps = kept[1][..., 1].float().repeat_interleave(64, 1)[:, :width]
    slack = x.abs() * torch.finfo(dtype).eps
    assert ((found.cpu().float() - x).abs() <= steps + slack).all()


@each_bits
@pytest.mark.parametrize("layout", ["transposed", "sliced", "one row", "one column"])
def test_kernel_takes_any_layout(device, bits, layout):
    """Rows and features may lie in memory as they like."""
    from rmmbench.kernels import _triton_rounding

    x = {
        "transposed": torch.randn(40, 90).T,
        "sliced": torch.randn(180, 240)[::2, 1::3],
        "one row": torch.randn(80).expand(90, 80),
        "one column": torch.randn(90, 1).expand(90, 80),
    }[layout]
    # Moved as it lies: a copy to a GPU would be contiguous.
    storage = x.as_strided((x.untyped_storage().nbytes() // 4,), (1,), 0).to(device)
    placed = storage.as_strided(x.shape, x.stride(), x.storage_offset())
    found = _triton_rounding.round_to_bits(placed, bits, seed_on(device))
    assert_same(found, rounding.round_to_bits_twin(x, bits, seed_on("cpu")))


@each_bits
# NumPy's, within the interpreter.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_kernel_shows_what_is_not_finite(device, bits):
    """A group with NaN or ∞ comes back with NaN, and no other group does."""
    from rmmbench.kernels import _triton_rounding

    x = torch.randn(4, 200)
    x[0, 3], x[1, 70], x[2, 199] = float("nan"), float("inf"), float("-inf")
    kept = _triton_rounding.round_to_bits(x.to(device), bits, seed_on(device))
    back = _triton_rounding.restored(*kept, 200, bits, torch.float32).cpu()
    hit = torch.stack([group.isnan().any(1) for group in back.split(64, 1)], 1)
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[0, 0] = expected[1, 1] = expected[2, 3] = True
    assert torch.equal(hit, expected)


@each_bits
def test_no_numbers(device, bits):
    """Nothing is launched where there is nothing to do."""
    from rmmbench.kernels import _triton_rounding

    for rows, width in ((0, 70), (9, 0)):
        x = torch.randn(rows, width, device=device)
        kept = _triton_rounding.round_to_bits(x, bits, seed_on(device))
        assert _triton_rounding.restored(*kept, width, bits, x.dtype).shape == (rows, width)
