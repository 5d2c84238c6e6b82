"""What is peculiar to the sketches of independent entries, and to those of several blocks."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from rmmbench import sketches
from rmmbench.kernels import dense

both = pytest.mark.parametrize("name", ["gaussian", "rademacher"])


def explicit(name, rows, proj_dim, block_rows=None, seed=3):
    """Return Sᵀ."""
    eye = torch.eye(rows, dtype=torch.float64)
    return sketches.get(name, block_rows=block_rows).project(eye, proj_dim, seed)


@both
@pytest.mark.parametrize("block_rows", [1, 4, 6, 24])
def test_s_is_block_diagonal(name, block_rows):
    """Rows of a block meet their block's columns alone, and no two blocks have the same entries."""
    blocks = 24 // block_rows
    s = explicit(name, 24, 24, block_rows).view(blocks, block_rows, blocks, block_rows)
    s = s.transpose(1, 2)
    assert bool((s[~torch.eye(blocks, dtype=torch.bool)] == 0).all())
    of_blocks = s.diagonal().movedim(2, 0)
    assert bool((of_blocks != 0).all())
    if block_rows > 1:  # of one sign each, two may well be alike
        assert len(of_blocks.unique(dim=0)) == blocks


def test_one_block_is_no_block():
    """Rademacher's S in one block of all rows is the S without blocks."""
    assert torch.equal(explicit("rademacher", 24, 10), explicit("rademacher", 24, 10, 24))


def test_rademacher_entries_are_signs():
    """All entries have one size, and half of them are minus, within 5 standard errors."""
    s = explicit("rademacher", 200, 150)
    torch.testing.assert_close(s.abs(), torch.full_like(s, 150**-0.5))
    assert abs(s.sign().mean().item()) <= 5 / math.sqrt(s.numel())


@pytest.mark.parametrize("rows", [200, 4096])
@pytest.mark.parametrize("entries", ["torch's", "Philox's"])
def test_normal_entries(entries, rows):
    """Entries have the first four moments of a normal number, within 5 standard errors."""
    seed, size = torch.tensor(7), (range(rows), range(64))
    draw = dense.torch_normals(seed) if entries == "torch's" else dense.normal_entries
    s = draw(seed, *size, torch.float64)
    for power, mean, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        standard_error = math.sqrt(variance / s.numel())
        assert abs(s.pow(power).mean().item() - mean) <= 5 * standard_error
    # Columns are uncorrelated.
    gram = s.T @ s / rows - torch.eye(64)
    assert gram.abs().max().item() <= 6 * math.sqrt(2 / rows)


@pytest.mark.parametrize("draw", [dense.sign_entries, dense.normal_entries])
def test_entries_do_not_depend_on_the_piece(draw):
    """An entry is a function of its place: a piece of S is what S has there."""
    seed = torch.tensor(2**40 + 1)
    whole = draw(seed, range(50), range(400), torch.float32)
    piece = draw(seed, range(10, 30), range(128, 333), torch.float32)
    assert torch.equal(piece, whole[10:30, 128:333])


@both
@pytest.mark.parametrize("block_rows", [None, 8])
def test_work(name, block_rows):
    """2·B·B_proj·N, divided by the number of blocks, is what torch counts of the products."""
    sketch, x = sketches.get(name, block_rows=block_rows), torch.randn(40, 6)
    with FlopCounterMode(display=False) as counter:
        sketch.project(x, 10, 1)
    assert (
        sketch.flops(40, 6, 10)
        == counter.get_total_flops()
        == 2 * 40 * 10 * 6 // (5 if block_rows else 1)
    )


@both
def test_columns_that_blocks_cannot_share(name):
    """A size that does not divide among the blocks is refused, with the next one that does."""
    message = "proj_dim must divide among the blocks, got 10 for 3 blocks of 8 rows; try 12"
    with pytest.raises(ValueError, match=message):
        sketches.get(name, block_rows=8).project(torch.zeros(24, 2), 10, 0)
    assert sketches.get(name, block_rows=8).size_from(24, 10) == 12


@pytest.mark.parametrize(("name", "block_rows"), [("rademacher", None), ("kronecker", 29)])
def test_signs_are_not_scaled_in_low_precision(name, block_rows):
    """bfloat16 would round 58^−½ by 0.34 %, for all entries alike: twice that in the gradient."""
    torch.manual_seed(0)
    x = torch.randn(116, 4096, dtype=torch.bfloat16)
    sketch = sketches.get(name, block_rows=block_rows)
    ratios = torch.stack(
        [sketch.project(x, 58, seed).double().square().sum() for seed in range(60)]
    )
    ratios /= x.double().square().sum()
    standard_error = ratios.std() / math.sqrt(len(ratios))
    assert standard_error < 0.001
    assert (ratios.mean() - 1).abs() < 4 * standard_error
